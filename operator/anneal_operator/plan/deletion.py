"""The end of a job. Owner references take its objects along; only what lies in the store needs the operator."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from anneal_api.job import FineTuneJobSpec
from anneal_api.spec.serving import OnDelete
from anneal_api.status import (
    Condition,
    ConditionStatus,
    ConditionType,
    FineTuneJobStatus,
    Phase,
    StatusReason,
)
from anneal_operator.plan import liveness, spec_digest
from anneal_operator.plan.actions import Action, Create, Event, Plan, SetFinalizer
from anneal_operator.plan.diagnosis.pending import why_waiting
from anneal_operator.plan.diagnosis.reasons import Diagnosis, diagnose
from anneal_operator.plan.events import events
from anneal_operator.plan.garbage import active_workloads, deletions, has_running_pods, why_terminating
from anneal_operator.plan.observations import (
    has_ended,
    has_succeeded,
    labels_of,
    number,
    pods_with,
    why_ended,
)
from anneal_operator.plan.observed import Observed
from anneal_operator.plan.recovered import Recorded
from anneal_operator.plan.rollout.service import service_of
from anneal_operator.plan.steps import LOOK_AGAIN_SECONDS
from anneal_operator.plan.stores import pinned
from anneal_operator.plan.timestamps import format_time
from anneal_operator.resources.cleanup_jobs import cleanup_job
from anneal_operator.resources.names import FINALIZER, GENERATION_LABEL, cleanup_name

CLEANUP_RETRY_SECONDS = 60.0
"""How long after a failed clean-up the next one starts."""

_CHANGES = {
    ConditionType.AVAILABLE: ConditionStatus.FALSE,
    ConditionType.READY: ConditionStatus.FALSE,
    ConditionType.PROGRESSING: ConditionStatus.TRUE,
}
_LET_GO = "Set spec.retention.onDelete to Keep to let the job go and leave the store as it is."


def wants_cleanup(observed: Observed) -> bool:
    """Returns whether the spec asks to empty the job's part of the store when the job is deleted."""
    retention = observed.raw_spec.get("retention")
    return isinstance(retention, Mapping) and retention.get("onDelete") == OnDelete.DELETE.value


def holds(observed: Observed) -> bool:
    """Returns whether the operator's finalizer holds the job."""
    return FINALIZER in (observed.job["metadata"].get("finalizers") or ())


def plan_deletion(observed: Observed, recorded: Recorded, spec: FineTuneJobSpec | None) -> Plan:
    """Returns what to do about a job that is being deleted.

    Args:
        observed: What is known.
        recorded: What is known of its past.
        spec: Its spec; None where that is invalid.
    """
    if not holds(observed):
        return Plan(status=None)
    spec = spec or _last_valid(observed)
    untouched = recorded.run is None and not recorded.versions and not observed.children
    if not wants_cleanup(observed) or untouched:
        return Plan(status=None, actions=(SetFinalizer(present=False),))
    if spec is None:
        what = "The manifest is invalid and no earlier one is left: what lies in the store stays there."
        told = Event(warning=True, reason=StatusReason.MANIFEST_INVALID, message=what)
        return Plan(None, (SetFinalizer(present=False),), (told,))
    service = service_of(observed)
    writing = [*active_workloads(observed), *([service] if service is not None else [])]
    if writing or has_running_pods(observed):
        what = "Stops what still works for the job, before the store is emptied."
        stays = why_terminating(observed, writing)
        return _going(
            observed, recorded, what, stays, actions=deletions(writing), requeue_after=LOOK_AGAIN_SECONDS
        )
    return _cleaned(observed, recorded, spec)


def _cleaned(observed: Observed, recorded: Recorded, spec: FineTuneJobSpec) -> Plan:
    job = observed.child("Job", cleanup_name(observed.name))
    what = "Empties the job's part of the store."
    if job is None and f"Job/{cleanup_name(observed.name)}" in observed.foreign:
        taken = f"There is a Job named {cleanup_name(observed.name)} that does not belong to this job."
        conflict = diagnose(StatusReason.NAME_CONFLICT, taken)
        return _going(observed, recorded, what, conflict, requeue_after=LOOK_AGAIN_SECONDS)
    if job is None:
        at, settings = pinned(
            spec, observed.settings, recorded.run.store if recorded.run is not None else None
        )
        body = cleanup_job(observed.job, at, settings)
        return _going(observed, recorded, what, actions=(Create(body),), requeue_after=LOOK_AGAIN_SECONDS)
    if has_succeeded(job):
        return Plan(status=None, actions=(SetFinalizer(present=False),))
    pods = pods_with(labels_of(job), observed.pods)
    if not has_ended(job):
        waits = why_waiting(job, pods, observed.warnings)
        return _going(observed, recorded, what, waits, requeue_after=LOOK_AGAIN_SECONDS)
    why = diagnose(StatusReason.INTERNAL, f"The store could not be emptied: {why_ended(job)}", _LET_GO)
    left = CLEANUP_RETRY_SECONDS - observed.lasted(liveness.ended(job))
    if left > 0:
        return _going(observed, recorded, what, why, requeue_after=left)
    return _going(observed, recorded, what, why, actions=deletions([job]))


def _going(
    observed: Observed,
    recorded: Recorded,
    what: str,
    why: Diagnosis | None = None,
    *,
    actions: tuple[Action, ...] = (),
    requeue_after: float | None = None,
) -> Plan:
    before = recorded.status
    message = why.message if why is not None else what
    reason = why.reason if why is not None else StatusReason.DELETING
    conditions = _conditions(observed, before.conditions, reason, message)
    update: dict[str, Any] = {
        "observed_generation": observed.generation,
        "phase": Phase.DELETING,
        "reason": reason,
        "message": message,
        "hint": _hint(why),
        "conditions": conditions,
        "run": recorded.run,
        "versions": list(recorded.versions),
    }
    status: FineTuneJobStatus = before.model_copy(update=update)
    return Plan(status, actions, events(before, status), requeue_after)


def _conditions(
    observed: Observed, before: Iterable[Condition], reason: StatusReason, message: str
) -> list[Condition]:
    """Returns the conditions of a job that is going: what was true of its work stays, it no longer is ready."""
    by_type = {condition.type: condition for condition in before}
    conditions = []
    for kind in ConditionType:
        known = by_type.get(kind)
        if known is not None and kind not in _CHANGES:
            conditions.append(known)
            continue
        status = _CHANGES.get(kind, ConditionStatus.UNKNOWN)
        flipped = known is None or known.status is not status
        conditions.append(
            Condition(
                type=kind,
                status=status,
                reason=reason if kind in _CHANGES else StatusReason.DELETING,
                message=message if kind in _CHANGES else "The job is being deleted.",
                lastTransitionTime=format_time(observed.now)
                if known is None or flipped
                else known.last_transition_time,
                observedGeneration=observed.generation,
            )
        )
    return conditions


def _hint(why: Diagnosis | None) -> str:
    if why is None:
        return ""
    return why.hint if _LET_GO in why.hint else f"{why.hint} {_LET_GO}".strip()


def _last_valid(observed: Observed) -> FineTuneJobSpec | None:
    """Returns the newest spec whose manifest is in the cluster, as it was when it was last carried out."""
    manifests = [child for child in observed.children if child["kind"] == "ConfigMap"]
    generations = {number(labels_of(child), GENERATION_LABEL) for child in manifests}
    for generation in sorted((g for g in generations if g is not None), reverse=True):
        spec = spec_digest.spec_of(observed, generation)
        if spec is not None:
            return spec
    return None
