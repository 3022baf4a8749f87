"""Every error that a person can meet.

    AnnealError                    what is wrong, where, and what to do about it
    |-- ManifestInvalid            the manifest breaks its schema or asks for what cannot be
    |-- DataInvalid                the data cannot be trained on: file, row and column are named
    |-- ModelNotFound              the base model is not where the manifest says, or is not allowed to us
    |-- GateNotPassed              nothing cleared the bar, so nothing was published
    |-- ArtifactInvalid            a published model is missing, incomplete or altered
    |-- RequestInvalid             a request to a served model cannot be answered (a 4xx)
    |-- TrainingFailed             training broke: out of memory, a lost worker, a diverged loss
    |-- ResourceUnavailable        a port, a file, a lock, memory or the cluster is taken or out of reach
    |-- ObjectNotFound             what was asked for is not in the cluster
    `-- Interrupted                a person stopped the run; the next one continues it

Each class has a `reason`, the word that status, logs and metrics use, and an exit code, the one of the command line.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from enum import IntEnum, StrEnum
from typing import ClassVar


class Reason(StrEnum):
    """Why a run ended without success: the closed set that status and reports use."""

    MANIFEST_INVALID = "ManifestInvalid"
    DATA_INVALID = "DataInvalid"
    MODEL_NOT_FOUND = "ModelNotFound"
    GATE_NOT_PASSED = "GateNotPassed"
    ARTIFACT_INVALID = "ArtifactInvalid"
    REQUEST_INVALID = "RequestInvalid"
    OUT_OF_MEMORY = "OutOfMemory"
    DISK_FULL = "DiskFull"
    COLLECTIVE = "Collective"
    USER_CODE = "UserCode"
    RESOURCE_UNAVAILABLE = "ResourceUnavailable"
    NOT_FOUND = "NotFound"
    INTERRUPTED = "Interrupted"
    INTERNAL = "Internal"


class ExitCode(IntEnum):
    """What the command line returns."""

    OK = 0
    INTERNAL = 1
    USAGE = 2
    MANIFEST_INVALID = 3
    DATA_INVALID = 4
    MODEL_NOT_FOUND = 5
    GATE_NOT_PASSED = 6
    TRAINING_FAILED = 7
    ARTIFACT_INVALID = 8
    RESOURCE_UNAVAILABLE = 9
    NOT_FOUND = 10
    JOB_FAILED = 11
    INTERRUPTED = 130
    OUTPUT_CLOSED = 141


@dataclass(frozen=True, slots=True)
class Problem:
    """One thing to mend.

    Attributes:
        what: What is wrong, one sentence.
        where: A path in the spec (`spec.training.epochs`) or a file with row and column.
        remedy: What to do about it, one sentence.
    """

    what: str
    where: str = ""
    remedy: str = ""

    def __str__(self) -> str:
        place = f"{self.where}: " if self.where else ""
        remedy = f" {self.remedy}" if self.remedy else ""
        return f"{place}{self.what}{remedy}"


class AnnealError(Exception):
    """Something went wrong that a person can understand and mend.

    Args:
        what: What is wrong, one sentence.
        where: The place: a path in the spec (`spec.training.epochs`), a file with line or row and column.
        remedy: What to do about it, one sentence.
        reason: The word for status and logs, where the class's own is too wide.
        problems: Every single thing to mend, where there are several; `what` then sums them up.
    """

    default_reason: ClassVar[Reason] = Reason.INTERNAL
    exit_code: ClassVar[ExitCode] = ExitCode.INTERNAL

    def __init__(
        self,
        what: str,
        *,
        where: str = "",
        remedy: str = "",
        reason: Reason | None = None,
        problems: Sequence[Problem] = (),
    ) -> None:
        super().__init__(what, where, remedy)
        self.what = what
        self.where = where
        self.remedy = remedy
        self.reason = reason or self.default_reason
        self.problems = tuple(problems)

    def __reduce__(self) -> tuple[object, ...]:
        # Keyword-only arguments do not survive the default pickling, and errors cross process borders.
        return _rebuild, (type(self), self.what, self.where, self.remedy, self.reason, self.problems)

    def __str__(self) -> str:
        return "\n".join([str(Problem(self.what, self.where, self.remedy)), *map(str, self.problems)])


def _rebuild(
    kind: type[AnnealError],
    what: str,
    where: str,
    remedy: str,
    reason: Reason,
    problems: tuple[Problem, ...],
) -> AnnealError:
    return kind(what, where=where, remedy=remedy, reason=reason, problems=problems)


class ManifestInvalid(AnnealError):
    """The manifest breaks its schema, contradicts itself or asks for what is not there."""

    default_reason = Reason.MANIFEST_INVALID
    exit_code = ExitCode.MANIFEST_INVALID


class DataInvalid(AnnealError):
    """The data cannot be read or cannot be trained on."""

    default_reason = Reason.DATA_INVALID
    exit_code = ExitCode.DATA_INVALID


class ModelNotFound(AnnealError):
    """The base model is missing, gated, or not of a kind that the task can use."""

    default_reason = Reason.MODEL_NOT_FOUND
    exit_code = ExitCode.MODEL_NOT_FOUND


class GateNotPassed(AnnealError):
    """No variant cleared the bar; nothing was published."""

    default_reason = Reason.GATE_NOT_PASSED
    exit_code = ExitCode.GATE_NOT_PASSED


class ArtifactInvalid(AnnealError):
    """A published model is missing, incomplete, altered or of an unknown format."""

    default_reason = Reason.ARTIFACT_INVALID
    exit_code = ExitCode.ARTIFACT_INVALID


class RequestInvalid(AnnealError):
    """A request that no model can answer: malformed, empty, too large or of the wrong type."""

    default_reason = Reason.REQUEST_INVALID
    exit_code = ExitCode.USAGE


class TrainingFailed(AnnealError):
    """Training broke and could not go on."""

    default_reason = Reason.USER_CODE
    exit_code = ExitCode.TRAINING_FAILED


class ResourceUnavailable(AnnealError):
    """Something that is needed is taken, too small or out of reach: a port, a lock, disk, memory, a cluster."""

    default_reason = Reason.RESOURCE_UNAVAILABLE
    exit_code = ExitCode.RESOURCE_UNAVAILABLE


class ObjectNotFound(AnnealError):
    """What was asked for is not in the cluster: the job, or the pod that ran a part of it."""

    default_reason = Reason.NOT_FOUND
    exit_code = ExitCode.NOT_FOUND


class Interrupted(AnnealError):
    """A person stopped the run. The next run continues where this one ended."""

    default_reason = Reason.INTERRUPTED
    exit_code = ExitCode.INTERRUPTED


class UnplacedError(ValueError):
    """Something is wrong with a value; whoever catches it knows where the value stands, and raises an AnnealError.

    Args:
        what: What is wrong, one sentence.
        remedy: What to do about it, one sentence.
    """

    def __init__(self, what: str, remedy: str) -> None:
        super().__init__(what)
        self.what = what
        self.remedy = remedy
