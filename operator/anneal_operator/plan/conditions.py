"""The conditions of a job. All are there from first sight; the time of one changes when its status does."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime

from anneal_api.attempt import Part
from anneal_api.status import Condition, ConditionStatus, ConditionType, Phase, StatusReason
from anneal_operator.plan.diagnosis.reasons import Diagnosis, shortened
from anneal_operator.plan.timestamps import format_time

_ORDER = tuple(Part)
_TRUE, _FALSE, _UNKNOWN = ConditionStatus.TRUE, ConditionStatus.FALSE, ConditionStatus.UNKNOWN
_OF_PARTS = (
    (ConditionType.PREPARED, Part.PREPARE, "Data and plan are checked and the rows are prepared."),
    (ConditionType.TRAINED, Part.TRAIN, "The model is trained."),
    (ConditionType.GATE_PASSED, Part.FINISH, "Every bar is cleared."),
    (ConditionType.PUBLISHED, Part.FINISH, "A version is published."),
)
_LONGEST_MESSAGE = 8192
_NOT_YET = "The way is not that far yet."


@dataclass(frozen=True, slots=True)
class Says:
    """What a condition says.

    Attributes:
        status: Whether it holds.
        reason: Why, in one word.
        message: Why, for people.
    """

    status: ConditionStatus
    reason: StatusReason
    message: str


def conditions_of(
    job_state: JobState,
    ready: Says,
    available: Says,
    *,
    serves: bool,
    generation: int,
    known: Sequence[Condition],
    now: datetime,
) -> list[Condition]:
    """Returns the conditions of a job.

    Args:
        job_state: Where it stands.
        ready: What `Ready` says.
        available: What `Available` says.
        serves: Whether the manifest asks for serving.
        generation: Generation of the spec.
        known: The conditions so far.
        now: The time.
    """
    said = {
        ConditionType.VALID: _valid(job_state),
        **dict(_parts(job_state)),
        ConditionType.AVAILABLE: available,
        ConditionType.READY: ready,
        ConditionType.SUCCEEDED: _succeeded(job_state, serves=serves),
        ConditionType.PROGRESSING: _progressing(job_state),
        ConditionType.FAILED: _failed(job_state),
    }
    ours = [_merged(kind, says, generation, known, now) for kind, says in said.items()]
    # What another release says besides is its own; when that was is in its `observedGeneration`.
    return [*ours, *(condition for condition in known if not condition.type.is_known)]


def _merged(
    kind: ConditionType, says: Says, generation: int, known: Iterable[Condition], now: datetime
) -> Condition:
    before = next((condition for condition in known if condition.type is kind), None)
    flipped = before is None or before.status is not says.status
    return Condition(
        type=kind,
        status=says.status,
        reason=says.reason,
        message=shortened(says.message, _LONGEST_MESSAGE),
        lastTransitionTime=format_time(now) if before is None or flipped else before.last_transition_time,
        observedGeneration=generation,
    )


def _valid(job_state: JobState) -> Says:
    if job_state.why is StatusReason.MANIFEST_INVALID and job_state.part is None:
        return Says(_FALSE, job_state.why, job_state.message)
    return Says(_TRUE, StatusReason.ACCEPTED, "The manifest can be carried out.")


def _parts(job_state: JobState) -> Iterator[tuple[ConditionType, Says]]:
    for kind, part, done in _OF_PARTS:
        if job_state.published:
            yield kind, Says(_TRUE, StatusReason.COMPLETED, done)
        elif job_state.part is None or not job_state.part.is_known:
            yield kind, Says(_UNKNOWN, StatusReason.PENDING, _NOT_YET)
        elif _ORDER.index(part) < _ORDER.index(job_state.part):
            yield kind, Says(_TRUE, StatusReason.COMPLETED, done)
        elif part is job_state.part and job_state.phase is not Phase.PENDING:
            yield kind, Says(_FALSE, job_state.why, job_state.message)
        else:
            yield kind, Says(_UNKNOWN, StatusReason.PENDING, _NOT_YET)


def _succeeded(job_state: JobState, *, serves: bool) -> Says:
    if job_state.failed:
        return Says(_FALSE, job_state.why, job_state.message)
    if serves:
        return Says(_FALSE, StatusReason.NOT_REQUESTED, "The job serves its model: see Ready.")
    if job_state.phase is Phase.SUCCEEDED:
        return Says(_TRUE, StatusReason.COMPLETED, job_state.message)
    return Says(_UNKNOWN, StatusReason.PENDING, _NOT_YET)


def _progressing(job_state: JobState) -> Says:
    if job_state.failed or not job_state.going:
        return Says(_FALSE, job_state.why, job_state.message)
    if job_state.phase in {Phase.READY, Phase.SUCCEEDED}:
        return Says(_FALSE, StatusReason.COMPLETED, job_state.message)
    return Says(_TRUE, job_state.why, job_state.message)


def _failed(job_state: JobState) -> Says:
    if job_state.failed:
        return Says(_TRUE, job_state.why, job_state.message)
    if job_state.phase in {Phase.READY, Phase.SUCCEEDED}:
        return Says(_FALSE, StatusReason.COMPLETED, "Nothing failed.")
    return Says(_FALSE, StatusReason.RUNNING, "Nothing failed for good.")


FINE = frozenset(
    {
        StatusReason.ACCEPTED,
        StatusReason.PENDING,
        StatusReason.RUNNING,
        StatusReason.COMPLETED,
        StatusReason.DEPLOYING,
        StatusReason.SERVING,
        StatusReason.NOT_REQUESTED,
        StatusReason.OLD_VERSION_SERVES,
        StatusReason.UNPROVEN_VERSION_SERVES,
    }
)
"""Reasons of conditions that nobody has to do anything about."""

PHASE_OF_PART = {Part.PREPARE: Phase.PREPARING, Part.TRAIN: Phase.TRAINING, Part.FINISH: Phase.FINISHING}
"""What a job does while a part runs."""


@dataclass(frozen=True, slots=True)
class JobState:
    """Where a job stands.

    Attributes:
        phase: One word for people.
        why: Why, for the condition that is about it.
        message: The same in a sentence.
        hint: What to do about it.
        part: The part that the way is at; None: what the spec asks for is published, or, where the manifest is
            invalid, nothing is on its way.
        shown: Reason for the status itself; None: as `why`, where that is anything to act on.
        going: Whether the job moves on by itself.
    """

    phase: Phase
    why: StatusReason
    message: str
    hint: str = ""
    part: Part | None = None
    shown: StatusReason | None = None
    going: bool = True

    @property
    def failed(self) -> bool:
        """Whether the job failed."""
        return self.phase is Phase.FAILED

    @property
    def published(self) -> bool:
        """Whether what the spec asks for is published."""
        return self.part is None and self.why is not StatusReason.MANIFEST_INVALID

    @property
    def reason(self) -> StatusReason | None:
        """The reason that the status shows; None where there is nothing to tell."""
        shown = self.shown or self.why
        return None if shown in FINE else shown


def waits(phase: Phase, what: Diagnosis, part: Part | None) -> JobState:
    """Returns the state of a job that something keeps from going on."""
    return JobState(phase, what.reason, what.message, what.hint, part)


def has_failed(why: Diagnosis, part: Part | None) -> JobState:
    """Returns the state of a job that failed."""
    return JobState(Phase.FAILED, why.reason, why.message, why.hint, part, going=False)
