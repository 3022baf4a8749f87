"""Turns what Ray Train says about a broken training into what a person can act on."""

from __future__ import annotations

from anneal_api.errors import Reason, TrainingFailed

_SIGNS: tuple[tuple[Reason, tuple[str, ...], str, str, str], ...] = (
    (
        # Before memory, for Ray's account of any lost process speaks of SIGKILL.
        Reason.INTERRUPTED,
        ("its node has died", "actor's node was", "node it was running on is dead"),
        "A machine or pod with a training worker was lost.",
        "",
        "Run again: training goes on from its last checkpoint.",
    ),
    (
        Reason.OUT_OF_MEMORY,
        ("OutOfMemoryError", "out of memory", "can't allocate memory", "SIGKILL"),
        "Training ran out of memory.",
        "spec.training.maxBatchTokens",
        "Lower it (it changes memory, not the result), lower spec.training.maxLength, or give the workers more memory.",
    ),
    (
        Reason.DISK_FULL,
        ("No space left on device", "Disk quota exceeded"),
        "The disk is full.",
        "",
        "Free some space in the work folder and Ray's temporary folder, then run again: training goes on.",
    ),
    (
        Reason.COLLECTIVE,
        ("NCCL", "gloo", "ProcessGroup", "collective"),
        "The workers lost touch with each other.",
        "",
        "Run again: training goes on from its last checkpoint.",
    ),
)


def classify(error: BaseException) -> TrainingFailed:
    """Returns the error to show for a training that Ray gave up on; the innermost message is kept."""
    text = _whole_text(error)
    for reason, signs, what, where, remedy in _SIGNS:
        if any(sign in text for sign in signs):
            return TrainingFailed(what, where=where, remedy=remedy, reason=reason)
    last_line = next((line.strip() for line in reversed(text.splitlines()) if line.strip()), "unknown")
    return TrainingFailed(f"A training worker failed: {last_line}", remedy="Run again: training goes on.")


def _whole_text(error: BaseException) -> str:
    parts = [str(error)]
    failures = getattr(error, "worker_failures", None)
    if isinstance(failures, dict):
        parts += [f"{type(failure).__name__}: {failure}" for failure in failures.values()]
    return "\n".join(parts)
