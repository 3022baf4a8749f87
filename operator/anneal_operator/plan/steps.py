"""How the part that an attempt is at stands: from its Job or RayJob, its report and its pods."""

from __future__ import annotations

from dataclasses import dataclass, replace
from enum import StrEnum

from anneal_api.attempt import Part, PartReport, PartState
from anneal_api.status import Run, StatusReason
from anneal_operator.plan import liveness, observations
from anneal_operator.plan.confirmation import ref_of, require_live
from anneal_operator.plan.diagnosis.failed import killed, kind_of, why_failed
from anneal_operator.plan.diagnosis.pending import crashes, why_waiting
from anneal_operator.plan.diagnosis.reasons import Diagnosis, diagnose
from anneal_operator.plan.garbage import why_terminating
from anneal_operator.plan.observations import report_of
from anneal_operator.plan.observed import Object, Observed
from anneal_operator.resources.names import attempt_name, part_name

REPORT_GRACE_SECONDS = 10.0
"""A last report may reach the operator after the end of the pod that wrote it."""

LOOK_AGAIN_SECONDS = 15.0
"""How often pods that do not run yet are looked at: Events are not watched."""

KUBERAY_RETRY_SECONDS = 30.0
"""How often a cluster without KubeRay is looked at."""

_TAKEN_UP_SECONDS = 60.0


class StepState(StrEnum):
    """How a part stands."""

    ABSENT = "absent"
    """Its object has never been seen at work and has to be made."""
    LEAVING = "leaving"
    """Its object is being deleted."""
    HELD = "held"
    """Kueue, or a person, holds it back."""
    WAITING = "waiting"
    """Its pods do not run yet."""
    RUNNING = "running"
    """It works."""
    ENDING = "ending"
    """It is done, as far as its report or its object tells, and the other is yet to say so."""
    SUCCEEDED = "succeeded"
    """Its report tells of success, and its object is at its end or gone."""
    FAILED = "failed"
    """It came to a bad end."""


@dataclass(frozen=True, slots=True)
class StepView:
    """How the part that an attempt is at stands.

    Attributes:
        state: How it stands.
        body: Its Job or RayJob; None where there is none.
        report: What it last reported.
        diagnosis: Why it waits, or why it failed.
        requeue_after: Seconds until time alone may change this.
        remove: Whether its object hangs and has to go, though the part is not lost by it.
    """

    state: StepState
    body: Object | None = None
    report: PartReport | None = None
    diagnosis: Diagnosis | None = None
    requeue_after: float | None = None
    remove: bool = False


def step_body(observed: Observed, run: Run) -> Object | None:
    """Returns the Job or RayJob of the part that an attempt is at."""
    return observed.child(kind_of(run.part), part_name(observed.name, run.generation, run.attempt, run.part))


def step_pods(observed: Observed, run: Run) -> tuple[Object, ...]:
    """Returns the pods of the part that an attempt is at, its object being there or not."""
    return observations.pods_with(
        observations.labels_of_part(run.generation, run.attempt, run.part), observed.pods
    )


def step_view(observed: Observed, run: Run) -> StepView:
    """Returns how the part that an attempt is at stands."""
    body = step_body(observed, run)
    report = report_of(observed, run.generation, run.attempt, run.part)
    pods = step_pods(observed, run)
    if body is None:
        return _without_object(observed, run, report, pods)
    if observations.is_leaving(body):
        stays = why_terminating(observed, [body])
        return StepView(StepState.LEAVING, body, report, stays, LOOK_AGAIN_SECONDS)
    if observations.has_ended(body):
        return _ended(observed, run, body, report, pods)
    if observations.is_held(body):
        # Held only after it had done its work, which lies in the store.
        done = report is not None and report.state is PartState.SUCCEEDED
        return StepView(StepState.SUCCEEDED if done else StepState.HELD, body, report)
    return _under_way(observed, run, body, report, pods)


def _without_object(
    observed: Observed, run: Run, report: PartReport | None, pods: tuple[Object, ...]
) -> StepView:
    if run.part is Part.TRAIN and not observed.kuberay:
        # Without the kind nothing can be said about the object.
        missing = diagnose(StatusReason.KUBERAY_MISSING, "The cluster does not know RayJobs.")
        return StepView(StepState.WAITING, None, report, missing, KUBERAY_RETRY_SECONDS)
    if report is not None and report.state is PartState.SUCCEEDED:
        # Its result lies in the store; that a person or the TTL has taken its object since changes nothing.
        return StepView(StepState.SUCCEEDED, None, report)
    if report is not None or run.part_seen:
        _require_live_evidence(observed, run, report)
        return StepView(StepState.FAILED, None, report, why_failed(run.part, None, report, pods))
    return StepView(StepState.ABSENT)


def _ended(
    observed: Observed, run: Run, body: Object, report: PartReport | None, pods: tuple[Object, ...]
) -> StepView:
    if report is not None and report.state is PartState.SUCCEEDED:
        # Its result lies in the store, however its object ended: KubeRay fails a RayJob whose end it slept through.
        return StepView(StepState.SUCCEEDED, body, report)
    good = observations.has_succeeded(body)
    final = report is not None and report.state is not PartState.RUNNING
    left = REPORT_GRACE_SECONDS - observed.lasted(liveness.ended(body))
    if not final and left > 0 and (good or killed(run.part, pods) is None):
        return StepView(StepState.ENDING, body, report, requeue_after=left)
    _require_live_evidence(observed, run, report)
    return StepView(StepState.FAILED, body, report, why_failed(run.part, body, report, pods))


def _under_way(
    observed: Observed, run: Run, body: Object, report: PartReport | None, pods: tuple[Object, ...]
) -> StepView:
    waits = why_waiting(body, pods, observed.warnings)
    crashed = crashes(pods, observed.settings.max_restarts)
    if crashed is not None and (report is None or report.state is PartState.RUNNING):
        require_live_run(observed, run)
        return StepView(StepState.FAILED, body, report, crashed)
    silent = _silent_seconds(observed, run, body, report, pods)
    if silent is None:
        if waits is None:
            waits = _not_taken_up(observed, body)
        return _waiting(observed, run, StepView(StepState.WAITING, body, report, waits, LOOK_AGAIN_SECONDS))
    state = StepState.RUNNING if report is None or report.state is PartState.RUNNING else StepState.ENDING
    left = observed.settings.heartbeat_seconds - silent
    if left > 0:
        return StepView(state, body, report, waits, left)
    require_live_run(observed, run)
    if report is not None and report.state is PartState.SUCCEEDED:
        return StepView(state, body, report, remove=True)
    if report is not None and report.state is PartState.FAILED:
        return StepView(StepState.FAILED, body, report, why_failed(run.part, body, report, pods))
    seconds = int(observed.settings.heartbeat_seconds)
    what = f"The {run.part} part has reported nothing for {seconds} s."
    return StepView(StepState.FAILED, body, report, diagnose(StatusReason.NO_HEARTBEAT, what))


def _waiting(observed: Observed, run: Run, step: StepView) -> StepView:
    """Returns how a part stands whose pods do not run: not for ever, for others may need what it has got already."""
    assert step.body is not None
    limit = observed.settings.start_seconds
    left = limit - observed.lasted(liveness.waiting(step.body))
    if left > 0:
        return replace(step, requeue_after=min(left, LOOK_AGAIN_SECONDS))
    require_live(observed, *_evidence(observed, run), *map(ref_of, step_pods(observed, run)))
    if step.report is not None and step.report.state is PartState.RUNNING:
        what = f"The {run.part} part worked, and reports nothing any more."
        return StepView(StepState.FAILED, step.body, step.report, diagnose(StatusReason.NO_HEARTBEAT, what))
    what = f"The {run.part} part did not start within {int(limit)} s."
    why = step.diagnosis or diagnose(StatusReason.INTERNAL, "Nothing says why.")
    late = diagnose(why.reason, f"{what} {why.message}", why.hint)
    return StepView(StepState.FAILED, step.body, step.report, replace(late, may_pass=True))


def _silent_seconds(
    observed: Observed, run: Run, body: Object, report: PartReport | None, pods: tuple[Object, ...]
) -> float | None:
    """Returns how long a part has told nothing, though it works; None where it does not work, as far as is known."""
    told = observed.lasted(liveness.reported(observed.name, run.generation, run.attempt, run.part))
    if observations.alive_since(body, pods) is not None:
        begun = observed.lasted(liveness.alive(body))
        return begun if report is None else min(begun, told)
    # KubeRay may be away, or behind: what a part tells of itself counts as long as it is not too long ago.
    works = report is not None and report.state is PartState.RUNNING
    return told if works and told < observed.settings.heartbeat_seconds else None


def require_live_run(observed: Observed, run: Run) -> None:
    """Lets an attempt be given up on what was seen live of it, and on nothing else.

    Args:
        observed: What is known.
        run: The attempt.

    Raises:
        Unconfirmed: Its part's object or its reports were not looked at.
    """
    require_live(observed, *_evidence(observed, run))


def _require_live_evidence(observed: Observed, run: Run, report: PartReport | None) -> None:
    # A report of failure is the last one that a part writes: no other can be on its way.
    if report is None or report.state is not PartState.FAILED:
        require_live_run(observed, run)


def _evidence(observed: Observed, run: Run) -> tuple[tuple[str, str], ...]:
    board = attempt_name(observed.name, run.generation, run.attempt)
    workload = part_name(observed.name, run.generation, run.attempt, run.part)
    kind = kind_of(run.part)
    # Without KubeRay the server knows no such kind, and nothing can be said about the object.
    return ("ConfigMap", board), *([(kind, workload)] if kind == "Job" or observed.kuberay else [])


def _not_taken_up(observed: Observed, body: Object) -> Diagnosis | None:
    if body["kind"] != "RayJob" or observed.lasted(liveness.untouched(body)) < _TAKEN_UP_SECONDS:
        return None
    what = "The KubeRay operator has not looked at the RayJob for a minute."
    return diagnose(
        StatusReason.KUBERAY_MISSING,
        what,
        "See whether the KubeRay operator runs and watches this namespace.",
    )
