"""Turns whatever ended a part into what the operator reports and what the process returns. Pure."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TypeGuard

from anneal_api.attempt import PartFailure
from anneal_api.errors import AnnealError, ExitCode, Problem, Reason
from anneal_api.system_errors import FORBIDDEN, FULL, chain, is_full, is_out_of_memory

_LONGEST_MESSAGE = 4096
_LONGEST_PLACE = 1024


@dataclass(frozen=True, slots=True)
class Ending:
    """How a part ended that did not succeed.

    Attributes:
        failure: What the operator is told.
        exit_code: What the process returns.
        unexpected: Whether nobody foresaw it, so that its traceback belongs into the log.
    """

    failure: PartFailure
    exit_code: ExitCode
    unexpected: bool = False


def interruption() -> Ending:
    """Returns the ending of a part that was asked to stop: its pod is evicted, deleted or drained."""
    return _ending(
        Reason.INTERRUPTED,
        "The pod was told to stop: it was evicted, deleted, or its node is being drained.",
        hint="Nothing is to be done: the next attempt goes on where this one stopped.",
        exit_code=ExitCode.INTERRUPTED,
    )


def ending_of(error: BaseException) -> Ending:
    """Returns what an error means.

    Args:
        error: What ended the part.
    """
    if isinstance(error, KeyboardInterrupt | SystemExit):
        return interruption()
    if any(is_full(cause) for cause in chain(error)):
        return _ending(
            Reason.DISK_FULL,
            error.what if _says_so(error) else f"The disk is full: {_place_or_words(error)}.",
            hint="Make the PersistentVolumeClaim larger, or remove what is not needed: the next attempt goes on.",
            exit_code=ExitCode.RESOURCE_UNAVAILABLE,
        )
    if isinstance(error, AnnealError):
        return _told(error)
    if any(is_out_of_memory(cause) for cause in chain(error)):
        return _ending(
            Reason.OUT_OF_MEMORY,
            f"The pod ran out of memory: {_last_line(error)}.",
            hint="Give the pod more memory, or choose a smaller model or less data.",
            exit_code=ExitCode.RESOURCE_UNAVAILABLE,
        )
    if isinstance(error, OSError) and error.errno in FORBIDDEN:
        return _ending(
            Reason.RESOURCE_UNAVAILABLE,
            f"The pod may not use {error.filename or 'a file'}: {error.strerror}.",
            where=str(error.filename or ""),
            hint="Let the claim be mounted writable, for the group of the pod's fsGroup.",
            exit_code=ExitCode.RESOURCE_UNAVAILABLE,
        )
    return _ending(
        Reason.INTERNAL,
        f"Something unforeseen happened: {_last_line(error)}.",
        hint="The pod's log has the details.",
        exit_code=ExitCode.INTERNAL,
        unexpected=True,
    )


def _told(error: AnnealError) -> Ending:
    first = error.problems[0] if error.problems else Problem("")
    message = "\n".join([error.what, *(f"- {problem}" for problem in error.problems)])
    return _ending(
        error.reason,
        message,
        where=error.where or first.where,
        hint=error.remedy or first.remedy,
        exit_code=error.exit_code,
    )


def _ending(
    reason: Reason,
    message: str,
    *,
    where: str = "",
    hint: str = "",
    exit_code: ExitCode,
    unexpected: bool = False,
) -> Ending:
    failure = PartFailure(
        reason=reason,
        message=_short(message, _LONGEST_MESSAGE),
        where=_short(where, _LONGEST_PLACE),
        hint=_short(hint, _LONGEST_PLACE),
    )
    return Ending(failure, exit_code, unexpected)


def _says_so(error: BaseException) -> TypeGuard[AnnealError]:
    return isinstance(error, AnnealError) and error.reason is Reason.DISK_FULL


def _place_or_words(error: BaseException) -> str:
    for cause in chain(error):
        if isinstance(cause, OSError) and cause.errno in FULL and cause.filename:
            return str(cause.filename)
    return _last_line(error)


def _last_line(error: BaseException) -> str:
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    kind = type(error).__name__
    return f"{kind}: {lines[-1].rstrip('.')}" if lines else kind


def _short(text: str, longest: int) -> str:
    return text if len(text) <= longest else f"{text[: longest - 1]}\u2026"
