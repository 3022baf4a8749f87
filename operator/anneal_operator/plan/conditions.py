"""The conditions of a job. All are there from first sight; the time of one changes when its status does."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime

from anneal_api.attempt import Part
from anneal_api.status import Condition, ConditionStatus, ConditionType, Phase, StatusReason
from anneal_operator.plan.moments import written
from anneal_operator.plan.standing import Standing
from anneal_operator.plan.trouble import shortened

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
    standing: Standing,
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
        standing: Where it stands.
        ready: What `Ready` says.
        available: What `Available` says.
        serves: Whether the manifest asks for serving.
        generation: Generation of the spec.
        known: The conditions so far.
        now: The time.
    """
    said = {
        ConditionType.VALID: _valid(standing),
        **dict(_parts(standing)),
        ConditionType.AVAILABLE: available,
        ConditionType.READY: ready,
        ConditionType.SUCCEEDED: _succeeded(standing, serves=serves),
        ConditionType.PROGRESSING: _progressing(standing),
        ConditionType.FAILED: _failed(standing),
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
        lastTransitionTime=written(now) if before is None or flipped else before.last_transition_time,
        observedGeneration=generation,
    )


def _valid(standing: Standing) -> Says:
    if standing.why is StatusReason.MANIFEST_INVALID and standing.part is None:
        return Says(_FALSE, standing.why, standing.message)
    return Says(_TRUE, StatusReason.ACCEPTED, "The manifest can be carried out.")


def _parts(standing: Standing) -> Iterator[tuple[ConditionType, Says]]:
    for kind, part, done in _OF_PARTS:
        if standing.published:
            yield kind, Says(_TRUE, StatusReason.DONE, done)
        elif standing.part is None or not standing.part.is_known:
            yield kind, Says(_UNKNOWN, StatusReason.NOT_YET, _NOT_YET)
        elif _ORDER.index(part) < _ORDER.index(standing.part):
            yield kind, Says(_TRUE, StatusReason.DONE, done)
        elif part is standing.part and standing.phase is not Phase.PENDING:
            yield kind, Says(_FALSE, standing.why, standing.message)
        else:
            yield kind, Says(_UNKNOWN, StatusReason.NOT_YET, _NOT_YET)


def _succeeded(standing: Standing, *, serves: bool) -> Says:
    if standing.failed:
        return Says(_FALSE, standing.why, standing.message)
    if serves:
        return Says(_FALSE, StatusReason.NOT_ASKED_FOR, "The job serves its model: see Ready.")
    if standing.phase is Phase.SUCCEEDED:
        return Says(_TRUE, StatusReason.DONE, standing.message)
    return Says(_UNKNOWN, StatusReason.NOT_YET, _NOT_YET)


def _progressing(standing: Standing) -> Says:
    if standing.failed or not standing.going:
        return Says(_FALSE, standing.why, standing.message)
    if standing.phase in {Phase.READY, Phase.SUCCEEDED}:
        return Says(_FALSE, StatusReason.DONE, standing.message)
    return Says(_TRUE, standing.why, standing.message)


def _failed(standing: Standing) -> Says:
    if standing.failed:
        return Says(_TRUE, standing.why, standing.message)
    if standing.phase in {Phase.READY, Phase.SUCCEEDED}:
        return Says(_FALSE, StatusReason.DONE, "Nothing failed.")
    return Says(_FALSE, StatusReason.RUNNING, "Nothing failed for good.")
