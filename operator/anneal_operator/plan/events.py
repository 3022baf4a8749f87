"""Which transitions are told as Events: each once, when the status that has it is written."""

from __future__ import annotations

from collections.abc import Iterator

from anneal_api.attempt import Part
from anneal_api.status import (
    Condition,
    ConditionStatus,
    ConditionType,
    FailedAttempt,
    FineTuneJobStatus,
    Phase,
    StatusReason,
    VersionState,
)
from anneal_operator.plan.actions import Event

_BEGINS = {Part.PREPARE: "Preparing begins", Part.TRAIN: "Training begins", Part.FINISH: "Finishing begins"}
_HELD_UP = frozenset(
    {
        StatusReason.IMAGE_PULL,
        StatusReason.UNSCHEDULABLE,
        StatusReason.QUOTA_EXCEEDED,
        StatusReason.VOLUME_NOT_FOUND,
        StatusReason.SECRET_NOT_FOUND,
        StatusReason.KUBERAY_MISSING,
        StatusReason.NAME_CONFLICT,
        StatusReason.REJECTED,
    }
)


def events(before: FineTuneJobStatus, after: FineTuneJobStatus) -> tuple[Event, ...]:
    """Returns the Events that tell how one status became another."""
    return (
        *_of_attempts(before, after),
        *_of_versions(before, after),
        *_of_availability(before, after),
        *_of_phase(before, after),
    )


def _of_attempts(before: FineTuneJobStatus, after: FineTuneJobStatus) -> Iterator[Event]:
    known = [_key(failure) for failure in before.failures]
    for failure in after.failures:
        if _key(failure) not in known and after.run is not None and after.run.retry_at is not None:
            what = f"Attempt {failure.attempt} failed while it was to {failure.part}: {failure.message}"
            yield Event(True, failure.reason, f"{what} The next one starts at {after.run.retry_at}.")
    was, now = before.run, after.run
    if now is None or now.retry_at is not None:
        return
    if was is None or (was.generation, was.attempt, was.part) != (now.generation, now.attempt, now.part):
        what = f"{_BEGINS.get(now.part, now.part)}: generation {now.generation}, attempt {now.attempt}."
        yield Event(False, StatusReason.RUNNING, what)


def _of_versions(before: FineTuneJobStatus, after: FineTuneJobStatus) -> Iterator[Event]:
    known = {version.version: version for version in before.versions}
    for version in after.versions:
        was = known.get(version.version)
        if was is None:
            score = f" with {after.score}" if after.score else ""
            yield Event(False, StatusReason.COMPLETED, f"Published v{version.version}{score}.")
        serves = version.state is VersionState.SERVING
        if serves and (was is None or was.state is not VersionState.SERVING):
            yield Event(False, StatusReason.SERVING, f"v{version.version} serves all requests.")
        if version.refused is not None and (was is None or was.refused is None):
            yield Event(
                True, version.refused.reason, f"v{version.version} is refused: {version.refused.message}"
            )


def _of_availability(before: FineTuneJobStatus, after: FineTuneJobStatus) -> Iterator[Event]:
    was, now = (_condition(status, ConditionType.AVAILABLE) for status in (before, after))
    if was is None or now is None or was.status is now.status:
        return
    if now.reason is StatusReason.UNAVAILABLE:
        yield Event(True, StatusReason.UNAVAILABLE, now.message)
    elif was.reason == StatusReason.UNAVAILABLE and now.status is ConditionStatus.TRUE:
        yield Event(False, StatusReason.SERVING, now.message)


def _serving(status: FineTuneJobStatus) -> list[int]:
    return [version.version for version in status.versions if version.state is VersionState.SERVING]


def _condition(status: FineTuneJobStatus, kind: ConditionType) -> Condition | None:
    return next((condition for condition in status.conditions if condition.type is kind), None)


def _of_phase(before: FineTuneJobStatus, after: FineTuneJobStatus) -> Iterator[Event]:
    if after.reason in _HELD_UP and after.reason is not before.reason and after.phase is not Phase.FAILED:
        yield Event(True, after.reason, after.message)
    newly = after.phase is not before.phase or after.observed_generation != before.observed_generation
    if after.phase is Phase.FAILED and newly and after.reason is not None:
        yield Event(True, after.reason, after.message)
    if after.phase is before.phase:
        return
    match after.phase:
        case Phase.SUSPENDED:
            yield Event(False, StatusReason.SUSPENDED, after.message)
        case Phase.QUEUED:
            yield Event(False, StatusReason.QUEUED, after.message)
        case Phase.SUCCEEDED:
            yield Event(False, StatusReason.COMPLETED, after.message)
        case Phase.DELETING:
            yield Event(False, StatusReason.DELETING, after.message)
        case Phase.READY if _serving(before) == _serving(after):
            # Otherwise its taking over is told already.
            yield Event(False, StatusReason.SERVING, after.message)
        case _:
            pass


def _key(failure: FailedAttempt) -> tuple[int, int, Part]:
    return failure.generation, failure.attempt, failure.part
