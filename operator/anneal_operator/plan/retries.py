"""Attempts: how one begins, fails, is stopped and is followed by the next. Each is on record before it exists."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from datetime import datetime

from anneal_api.attempt import Part
from anneal_api.job import FineTuneJobSpec
from anneal_api.schema import parse_duration
from anneal_api.status import FailedAttempt, Run, StatusReason, StoreStatus
from anneal_operator.plan import spec_digest
from anneal_operator.plan.diagnosis.reasons import Diagnosis
from anneal_operator.plan.observed import Observed
from anneal_operator.plan.timestamps import after, format_time, parse_time
from anneal_operator.settings import Settings

PERMANENT = frozenset(
    {
        StatusReason.MANIFEST_INVALID,
        StatusReason.DATA_INVALID,
        StatusReason.MODEL_NOT_FOUND,
        StatusReason.GATE_NOT_PASSED,
        StatusReason.ARTIFACT_INVALID,
        StatusReason.DEADLINE,
        StatusReason.REJECTED,
    }
)
"""Failures that another attempt would only repeat."""

LIKELY_PERMANENT = frozenset({StatusReason.OUT_OF_MEMORY, StatusReason.USER_CODE})
"""Failures that are tried once more, in case that a neighbour or a bad node caused them, but not until the end."""

_LIKELY_PERMANENT_ATTEMPTS = 2
_PREEMPTIONS = 8  # fewer than the failures that are on record, or they could not be counted
_LAST_ATTEMPT = 99  # what names have room for
_GO_ON = "Edit the manifest, or create the job again: the work goes on from its last checkpoint."
_MOST_FAILURES = 10
_LONGEST_DOUBLING = 30


def begun(observed: Observed, spec: FineTuneJobSpec, last: Run | None, store: StoreStatus | None) -> Run:
    """Returns the attempt that comes next.

    Within a generation it goes on with the part that failed; in a new one it does so only where the work is the
    same, for what earlier parts have made lies in the store.

    Args:
        observed: What is known.
        spec: The spec.
        last: The attempt before it, whose part is to be gone on with; None: the way begins anew.
        store: Where its results go.
    """
    now = format_time(observed.now)
    same = last is not None and last.generation == observed.generation
    return Run(
        generation=observed.generation,
        attempt=last.attempt + 1 if last is not None and same else 1,
        part=last.part if last is not None else Part.PREPARE,
        image=observed.settings.image,
        store=store,
        startedAt=now,
        partStartedAt=now,
        shaping=spec_digest.work_digest(spec),
        forGeneration=observed.generation,
        countsFrom=(last.counts_from or last.started_at) if last is not None and same else now,
    )


def at_step(run: Run, part: Part, now: datetime) -> Run:
    """Returns an attempt as it goes on to another part."""
    return run.model_copy(update={"part": part, "part_started_at": format_time(now), "part_seen": False})


def failed(
    observed: Observed, run: Run, why: Diagnosis, failures: Iterable[FailedAttempt]
) -> tuple[Run, FailedAttempt]:
    """Returns an attempt after it failed, and the record of its failure.

    Where another attempt may help, it has the time of that one.

    Args:
        observed: What is known.
        run: The attempt.
        why: Why it failed.
        failures: The records of failures before it.
    """
    earlier = [failure.reason for failure in failures if failure.generation == run.generation]
    alike = [reason for reason in earlier if _class_of(reason) == _class_of(why.reason)]
    settings = observed.settings
    most = settings.max_attempts if why.may_pass else attempts_for(why.reason, settings)
    last = len(alike) + 1 >= most or run.attempt >= _LAST_ATTEMPT
    failure = FailedAttempt(
        generation=run.generation,
        attempt=run.attempt,
        part=run.part,
        reason=why.reason,
        message=why.message,
        hint=_GO_ON if last and why.reason is StatusReason.PREEMPTED else why.hint,
        at=format_time(observed.now),
    )
    if last:
        return run.model_copy(update={"retry_at": None}), failure
    due = after(observed.now, backoff(len(earlier) + 1, observed.settings))
    return run.model_copy(update={"retry_at": format_time(due)}), failure


def stopped(run: Run | None, failures: Iterable[FailedAttempt], now: datetime) -> Run | None:
    """Returns an attempt after it was stopped on purpose: it is not lost, and another may go on with its part."""
    if run is None or run.retry_at is not None or failure_of(run, failures) is not None:
        return run
    return run.model_copy(update={"retry_at": format_time(now)})


def failure_of(run: Run, failures: Iterable[FailedAttempt]) -> FailedAttempt | None:
    """Returns the record of an attempt's failure; None where it has not failed."""
    of_run = (f for f in failures if (f.generation, f.attempt) == (run.generation, run.attempt))
    return next(of_run, None)


def with_failure(failures: Sequence[FailedAttempt], new: FailedAttempt) -> tuple[FailedAttempt, ...]:
    """Returns the records of failures with one more, the oldest dropped where they are too many."""
    return (*failures, new)[-_MOST_FAILURES:]


def attempts_for(reason: StatusReason, settings: Settings) -> int:
    """Returns at which failure of a reason's class a generation is given up.

    A class has its own count: what lost nodes cost is not taken from what a crash may.
    """
    if reason in PERMANENT:
        return 1
    if reason is StatusReason.PREEMPTED:
        return max(_PREEMPTIONS, settings.max_attempts)
    if reason in LIKELY_PERMANENT:
        return min(_LIKELY_PERMANENT_ATTEMPTS, settings.max_attempts)
    return settings.max_attempts


def _class_of(reason: StatusReason) -> str:
    if reason in LIKELY_PERMANENT:
        return "likely permanent"
    return reason.value if reason is StatusReason.PREEMPTED else "passing"


def backoff(failures: int, settings: Settings) -> float:
    """Returns how many seconds to wait after so many failures: doubled for each, up to the longest wait."""
    doubled = settings.backoff_seconds * 2.0 ** min(failures - 1, _LONGEST_DOUBLING)
    return float(min(doubled, settings.max_backoff_seconds))


def deadline_of(run: Run, spec: FineTuneJobSpec) -> datetime | None:
    """Returns when the job has to be published; None where it has no deadline."""
    begin = parse_time(run.counts_from or run.started_at)
    if spec.deadline is None or begin is None:
        return None
    return after(begin, parse_duration(spec.deadline))
