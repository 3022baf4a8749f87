"""How the part that an attempt is at stands: from its Job or RayJob, its report and its pods."""

from __future__ import annotations

from dataclasses import dataclass, replace
from enum import StrEnum

from anneal_api.attempt import Part, PartReport, PartState
from anneal_api.status import Run, StatusReason
from anneal_operator.plan import liveness, workloads
from anneal_operator.plan.confirmation import place_of, require_live
from anneal_operator.plan.failures import killed, kind_of, why_failed
from anneal_operator.plan.leftovers import why_it_stays
from anneal_operator.plan.observed import Object, Observed
from anneal_operator.plan.reports import report_of
from anneal_operator.plan.trouble import Trouble, trouble
from anneal_operator.plan.waiting import crashes, why_waiting
from anneal_operator.resources.names import attempt_name, part_name

REPORT_GRACE_SECONDS = 10.0
"""A last report may reach the operator after the end of the pod that wrote it."""

LOOK_AGAIN_SECONDS = 15.0
"""How often pods that do not run yet are looked at: Events are not watched."""

KUBERAY_RETRY_SECONDS = 30.0
"""How often a cluster without KubeRay is looked at."""

_TAKEN_UP_SECONDS = 60.0


class Stand(StrEnum):
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
class PartStand:
    """How the part that an attempt is at stands.

    Attributes:
        stand: How it stands.
        body: Its Job or RayJob; None where there is none.
        report: What it last reported.
        trouble: Why it waits, or why it failed.
        look_again: Seconds until time alone may change this.
        remove: Whether its object hangs and has to go, though the part is not lost by it.
    """

    stand: Stand
    body: Object | None = None
    report: PartReport | None = None
    trouble: Trouble | None = None
    look_again: float | None = None
    remove: bool = False


def part_body(observed: Observed, run: Run) -> Object | None:
    """Returns the Job or RayJob of the part that an attempt is at."""
    return observed.child(kind_of(run.part), part_name(observed.name, run.generation, run.attempt, run.part))


def part_pods(observed: Observed, run: Run) -> tuple[Object, ...]:
    """Returns the pods of the part that an attempt is at, its object being there or not."""
    return workloads.pods_with(workloads.labels_of_part(run.generation, run.attempt, run.part), observed.pods)


def part_stand(observed: Observed, run: Run) -> PartStand:
    """Returns how the part that an attempt is at stands."""
    body = part_body(observed, run)
    report = report_of(observed, run.generation, run.attempt, run.part)
    pods = part_pods(observed, run)
    if body is None:
        return _without_object(observed, run, report, pods)
    if workloads.is_leaving(body):
        stays = why_it_stays(observed, [body])
        return PartStand(Stand.LEAVING, body, report, stays, LOOK_AGAIN_SECONDS)
    if workloads.has_ended(body):
        return _ended(observed, run, body, report, pods)
    if workloads.is_held(body):
        # Held only after it had done its work, which lies in the store.
        done = report is not None and report.state is PartState.SUCCEEDED
        return PartStand(Stand.SUCCEEDED if done else Stand.HELD, body, report)
    return _under_way(observed, run, body, report, pods)


def _without_object(
    observed: Observed, run: Run, report: PartReport | None, pods: tuple[Object, ...]
) -> PartStand:
    if run.part is Part.TRAIN and not observed.kuberay:
        # Without the kind nothing can be said about the object.
        missing = trouble(StatusReason.KUBERAY_MISSING, "The cluster does not know RayJobs.")
        return PartStand(Stand.WAITING, None, report, missing, KUBERAY_RETRY_SECONDS)
    if report is not None and report.state is PartState.SUCCEEDED:
        # Its result lies in the store; that a person or the TTL has taken its object since changes nothing.
        return PartStand(Stand.SUCCEEDED, None, report)
    if report is not None or run.part_seen:
        _require_live_evidence(observed, run, report)
        return PartStand(Stand.FAILED, None, report, why_failed(run.part, None, report, pods))
    return PartStand(Stand.ABSENT)


def _ended(
    observed: Observed, run: Run, body: Object, report: PartReport | None, pods: tuple[Object, ...]
) -> PartStand:
    if report is not None and report.state is PartState.SUCCEEDED:
        # Its result lies in the store, however its object ended: KubeRay fails a RayJob whose end it slept through.
        return PartStand(Stand.SUCCEEDED, body, report)
    good = workloads.has_succeeded(body)
    final = report is not None and report.state is not PartState.RUNNING
    left = REPORT_GRACE_SECONDS - observed.lasted(liveness.ended(body))
    if not final and left > 0 and (good or killed(run.part, pods) is None):
        return PartStand(Stand.ENDING, body, report, look_again=left)
    _require_live_evidence(observed, run, report)
    return PartStand(Stand.FAILED, body, report, why_failed(run.part, body, report, pods))


def _under_way(
    observed: Observed, run: Run, body: Object, report: PartReport | None, pods: tuple[Object, ...]
) -> PartStand:
    waits = why_waiting(body, pods, observed.warnings)
    crashed = crashes(pods, observed.settings.max_restarts)
    if crashed is not None and (report is None or report.state is PartState.RUNNING):
        require_live_run(observed, run)
        return PartStand(Stand.FAILED, body, report, crashed)
    silent = _silent_seconds(observed, run, body, report, pods)
    if silent is None:
        if waits is None:
            waits = _not_taken_up(observed, body)
        return _waiting(observed, run, PartStand(Stand.WAITING, body, report, waits, LOOK_AGAIN_SECONDS))
    stand = Stand.RUNNING if report is None or report.state is PartState.RUNNING else Stand.ENDING
    left = observed.settings.heartbeat_seconds - silent
    if left > 0:
        return PartStand(stand, body, report, waits, left)
    require_live_run(observed, run)
    if report is not None and report.state is PartState.SUCCEEDED:
        return PartStand(stand, body, report, remove=True)
    if report is not None and report.state is PartState.FAILED:
        return PartStand(Stand.FAILED, body, report, why_failed(run.part, body, report, pods))
    seconds = int(observed.settings.heartbeat_seconds)
    what = f"The {run.part} part has reported nothing for {seconds} s."
    return PartStand(Stand.FAILED, body, report, trouble(StatusReason.NO_HEARTBEAT, what))


def _waiting(observed: Observed, run: Run, stand: PartStand) -> PartStand:
    """Returns how a part stands whose pods do not run: not for ever, for others may need what it has got already."""
    assert stand.body is not None
    limit = observed.settings.start_seconds
    left = limit - observed.lasted(liveness.waiting(stand.body))
    if left > 0:
        return replace(stand, look_again=min(left, LOOK_AGAIN_SECONDS))
    require_live(observed, *_evidence(observed, run), *map(place_of, part_pods(observed, run)))
    if stand.report is not None and stand.report.state is PartState.RUNNING:
        what = f"The {run.part} part worked, and reports nothing any more."
        return PartStand(Stand.FAILED, stand.body, stand.report, trouble(StatusReason.NO_HEARTBEAT, what))
    what = f"The {run.part} part did not start within {int(limit)} s."
    why = stand.trouble or trouble(StatusReason.INTERNAL, "Nothing says why.")
    late = trouble(why.reason, f"{what} {why.message}", why.hint)
    return PartStand(Stand.FAILED, stand.body, stand.report, replace(late, may_pass=True))


def _silent_seconds(
    observed: Observed, run: Run, body: Object, report: PartReport | None, pods: tuple[Object, ...]
) -> float | None:
    """Returns how long a part has told nothing, though it works; None where it does not work, as far as is known."""
    told = observed.lasted(liveness.reported(observed.name, run.generation, run.attempt, run.part))
    if workloads.alive_since(body, pods) is not None:
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


def _not_taken_up(observed: Observed, body: Object) -> Trouble | None:
    if body["kind"] != "RayJob" or observed.lasted(liveness.untouched(body)) < _TAKEN_UP_SECONDS:
        return None
    what = "The KubeRay operator has not looked at the RayJob for a minute."
    return trouble(
        StatusReason.KUBERAY_MISSING,
        what,
        "See whether the KubeRay operator runs and watches this namespace.",
    )
