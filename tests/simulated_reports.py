"""What the pods of a part report, from their first sign of life to their end, where no pod runs."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Mapping
from datetime import UTC, datetime
from typing import Any

from model_results import content_of, failure, published

from anneal_operator.resources.names import (
    ATTEMPT_LABEL,
    GENERATION_LABEL,
    JOB_LABEL,
    PART_LABEL,
    UID_LABEL,
)

STAGES = {
    "prepare": ("preflight", "prepare"),
    "train": ("train",),
    "finish": ("evaluate", "gate", "publish"),
}
"""Stages of each part, in order."""

_STEPS = 4


class SimulatedStore:
    """Numbers versions as a model store does: the same content is the same version."""

    def __init__(self) -> None:
        self._contents: dict[str, list[str]] = defaultdict(list)

    def publish(self, labels: Mapping[str, str], namespace: str, spec: Mapping[str, Any]) -> dict[str, Any]:
        """Publishes what a spec comes to, and returns the result as a finish part reports it."""
        content = content_of(spec)
        stored = self._contents[labels[UID_LABEL]]
        if not stored or stored[-1] != content:
            stored.append(content)
        folder = f"{namespace}/{labels[JOB_LABEL]}-{labels[UID_LABEL][:8]}/v{len(stored)}"
        return published(len(stored), path=folder)


def ways(labels: Mapping[str, str]) -> Iterator[dict[str, Any]]:
    """Yields the reports of a part while it runs."""
    for stage in STAGES[labels[PART_LABEL]]:
        if labels[PART_LABEL] != "train":
            yield _report(labels, "Running", stage=stage)
            continue
        for step in range(1, _STEPS + 1):
            progress = {"step": step, "totalSteps": _STEPS, "epoch": step / _STEPS, "loss": 1 / step}
            yield _report(labels, "Running", stage=stage, progress={**progress, "etaSeconds": 1.0})


def end(labels: Mapping[str, str], reason: str | None, result: dict[str, Any] | None) -> dict[str, Any]:
    """Returns the last report of a part.

    Args:
        labels: Labels of the part's object.
        reason: What it failed with; None: it succeeded.
        result: What it published; None: nothing.
    """
    stages = [
        {"name": stage, "key": stage, "reused": False, "seconds": 0.5} for stage in STAGES[labels[PART_LABEL]]
    ]
    more: dict[str, Any] = {"published": result} if result is not None else {}
    if reason is not None:
        return _report(labels, "Failed", failure=failure(reason))
    return _report(labels, "Succeeded", stages=stages, **more)


def now() -> str:
    """Returns the time as Kubernetes writes it."""
    return datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


def _report(labels: Mapping[str, str], state: str, **more: Any) -> dict[str, Any]:
    return {
        "jobUid": labels[UID_LABEL],
        "generation": int(labels[GENERATION_LABEL]),
        "attempt": int(labels[ATTEMPT_LABEL]),
        "part": labels[PART_LABEL],
        "state": state,
        "heartbeat": now(),
        **more,
    }
