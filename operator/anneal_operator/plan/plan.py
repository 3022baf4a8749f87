"""The whole behaviour of the operator: what is known goes in, what is to be done comes out.

A generation of the spec goes this way; `pipeline` moves it along, `steps` says how the step stands that it is at:

    Pending --> Preparing --> Training --> Finishing --> Succeeded
       |            |             |            |             (without spec.serving)
       |            +------ fails or is lost --+
       |            |   `retries`: another attempt, from the step that failed, or Failed
       |            v                          |  publishes a version
     Queued,     Failed                        v
    Suspended                              Deploying <----> Ready
                                        `rollout`: answers as it was measured, or is refused and the last one serves

Each step is written into the status before anything of it is made, and names follow from the status alone; so whoever
looks next, this operator or one that was started a minute ago, goes on from there. Nothing is remembered between two
calls. `diagnosis` says why something waits or failed, `status`, `conditions` and `events` put it into words.
"""

from __future__ import annotations

import json
from dataclasses import replace
from functools import lru_cache

from anneal_api.errors import AnnealError, Problem
from anneal_api.identity import API_VERSION, KIND
from anneal_api.job import FineTuneJobSpec
from anneal_api.status import Phase, StatusReason, VersionState, VersionStatus
from anneal_api.support import Place
from anneal_api.validation import Validation, validate
from anneal_operator.plan.actions import Action, Apply, Create, Delete, Plan, SetFinalizer
from anneal_operator.plan.conditions import JobState, has_failed, waits
from anneal_operator.plan.confirmation import Unconfirmed
from anneal_operator.plan.deletion import holds, plan_deletion, wants_cleanup
from anneal_operator.plan.diagnosis.reasons import Diagnosis, diagnose, shortened
from anneal_operator.plan.garbage import (
    kept_until,
    of_earlier_generations,
    of_finished,
    of_old_generations,
)
from anneal_operator.plan.observed import Observed
from anneal_operator.plan.pipeline import PipelineState, pipeline_state
from anneal_operator.plan.recovered import Recorded, recover
from anneal_operator.plan.rollout import versions as known
from anneal_operator.plan.rollout.service import Service, refusal_of, serve, with_traffic
from anneal_operator.plan.status import Outcome, build_plan, finished_at
from anneal_operator.plan.stores import store_for, with_stores

CONFLICT_RETRY_SECONDS = 30.0
"""How often a name that another object holds is looked at again."""

_LONGEST_PROBLEMS = 8192


def plan(observed: Observed) -> Plan:
    """Returns what to do about a job, and what to say of it.

    Args:
        observed: The job, everything that was made for it, and the time.
    """
    try:
        return _planned(observed)
    except Unconfirmed as doubt:
        return Plan(None, confirm=doubt.places)


def _planned(observed: Observed) -> Plan:
    recorded = recover(observed)
    spec, problems = _read(observed, recorded)
    if spec is not None:
        recorded = with_stores(observed, recorded, spec)
    if observed.deleting:
        return plan_deletion(observed, recorded, spec)
    if spec is None:
        return build_plan(observed, recorded, _refused(recorded, "\n".join(map(str, problems))))
    try:
        outcome = _carried_out(observed, recorded, spec)
    except AnnealError as error:
        # A place that no pod can have, from the settings or from a report.
        return build_plan(observed, recorded, _refused(recorded, str(error)))
    return build_plan(observed, recorded, _without_conflicts(observed, recorded, outcome))


def _read(observed: Observed, recorded: Recorded) -> tuple[FineTuneJobSpec | None, tuple[Problem, ...]]:
    checked = _validated(
        observed.name, observed.namespace, json.dumps(observed.job.get("spec"), sort_keys=True)
    )
    if checked.job is None:
        return None, checked.problems
    if store_for(recorded.run, recorded.versions, checked.job.spec, observed.settings) is None:
        what = "The manifest names no model store, and the operator has none of its own."
        return None, (Problem(what, "spec.store.uri", "Write `pvc://CLAIM/PATH` or `s3://BUCKET/PREFIX`."),)
    return checked.job.spec, ()


@lru_cache(maxsize=256)
def _validated(name: str, namespace: str, spec: str) -> Validation:
    """Checks a spec, given as JSON. A job is looked at several times in a row with the same one."""
    metadata = {"name": name, "namespace": namespace}
    document = {"apiVersion": API_VERSION, "kind": KIND, "metadata": metadata, "spec": json.loads(spec)}
    return validate(document, place=Place.CLUSTER)


def _refused(recorded: Recorded, problems: str) -> Outcome:
    """Returns the outcome of a spec that cannot be carried out: nothing is made; what runs and serves is left alone."""
    why = Diagnosis(StatusReason.MANIFEST_INVALID, shortened(problems, _LONGEST_PROBLEMS), "")
    hint = diagnose(StatusReason.MANIFEST_INVALID, "").hint
    pipeline = PipelineState(recorded.run, tuple(recorded.status.failures), recorded.versions)
    service = Service(recorded.versions, url=recorded.status.url)
    return Outcome(None, pipeline, service, has_failed(replace(why, hint=hint), None))


def _carried_out(observed: Observed, recorded: Recorded, spec: FineTuneJobSpec) -> Outcome:
    pipeline = pipeline_state(observed, recorded, spec)
    target = known.asked_for(pipeline.versions, spec, observed)
    edited = recorded.status.observed_generation != observed.generation
    service = serve(observed, spec, pipeline.versions, target, edited=edited)
    service = replace(service, versions=known.kept(service.versions, spec.retention))
    if target is not None:
        target = next(version for version in service.versions if version.version == target.version)
    job_state = pipeline.job_state
    if job_state is None:
        assert target is not None, "an attempt without anything to do has published"
        job_state = _served(observed, spec, service, target)
    outcome = Outcome(spec, pipeline, service, job_state, target)
    if wants_cleanup(observed) != holds(observed):
        outcome = replace(outcome, actions=(SetFinalizer(present=wants_cleanup(observed)),))
    # What is refused ends a look, so what people's requests depend on comes before what trains the next version.
    outcome = replace(outcome, actions=(*outcome.actions, *service.actions, *pipeline.actions))
    outcome = replace(outcome, requeue_after=(*pipeline.requeue_after, *service.requeue_after))
    if outcome.finished:
        return _tidied(observed, recorded, outcome)
    old = of_old_generations(observed, pipeline.run, service.versions)
    return replace(
        outcome, actions=(*outcome.actions, *(each for each in old if each not in outcome.actions))
    )


def _served(observed: Observed, spec: FineTuneJobSpec, service: Service, target: VersionStatus) -> JobState:
    """Returns where a job stands whose version is published."""
    name = f"v{target.version}"
    if spec.serving is None:
        return JobState(Phase.SUCCEEDED, StatusReason.COMPLETED, f"{name} is published.")
    refusal = refusal_of(target, observed.generation)
    if refusal is not None:
        return has_failed(Diagnosis(refusal.reason, refusal.message, refusal.hint), None)
    if service.ready and target.state is VersionState.SERVING:
        return JobState(Phase.READY, StatusReason.SERVING, f"{name} answers at {service.url}.")
    if service.diagnosis is not None:
        job_state = waits(Phase.DEPLOYING, service.diagnosis, None)
        return replace(job_state, going=not service.overdue)
    if target.state is VersionState.SERVING:
        return JobState(Phase.DEPLOYING, StatusReason.DEPLOYING, f"The service of {name} is being changed.")
    carries = any(v.version == target.version and v.traffic for v in with_traffic(observed, service.versions))
    what = (
        f"{name} answers all requests, and is compared with what was measured."
        if carries
        else f"Deploys {name}."
    )
    return JobState(Phase.DEPLOYING, StatusReason.DEPLOYING, what)


def _tidied(observed: Observed, recorded: Recorded, outcome: Outcome) -> Outcome:
    """Returns the outcome of a job that has come to its end, with what is no longer needed deleted."""
    spec = outcome.spec
    assert spec is not None
    actions = list(of_earlier_generations(observed, outcome.pipeline.run, outcome.service.versions))
    requeue_after = list(outcome.requeue_after)
    until = kept_until(spec.retention, finished_at(observed, recorded, outcome))
    if until is not None:
        left = (until - observed.now).total_seconds()
        if left > 0:
            requeue_after.append(left)
        else:
            actions += of_finished(observed)
    new = [action for action in dict.fromkeys(actions) if action not in outcome.actions]
    return replace(outcome, actions=(*outcome.actions, *new), requeue_after=tuple(requeue_after))


def _without_conflicts(observed: Observed, recorded: Recorded, outcome: Outcome) -> Outcome:
    """Returns the outcome, or, where a name that it needs is another object's, one that makes nothing."""
    needed = {place for action in outcome.actions for place in _places(action)}
    taken = sorted(needed & observed.foreign)
    if not taken:
        return outcome
    kind, _, name = taken[0].partition("/")
    what = f"There is a {kind} named {name} that does not belong to this job, which needs the name."
    why = diagnose(StatusReason.NAME_CONFLICT, what)
    pipeline = outcome.pipeline
    if any(place in taken for action in pipeline.actions for place in _places(action)):
        # As if nothing had been decided: an attempt is not begun before it can be.
        pipeline = PipelineState(recorded.run, tuple(recorded.status.failures), recorded.versions)
        job_state = waits(Phase.PENDING, why, outcome.job_state.part)
        outcome = replace(outcome, target=None, service=replace(outcome.service, versions=recorded.versions))
    else:
        job_state = waits(outcome.job_state.phase, why, outcome.job_state.part)
        if job_state.phase is Phase.READY:
            job_state = replace(job_state, phase=Phase.DEPLOYING)
    actions = tuple(a for a in outcome.actions if isinstance(a, Delete | SetFinalizer))
    requeue_after = (*outcome.requeue_after, CONFLICT_RETRY_SECONDS)
    return replace(
        outcome, pipeline=pipeline, job_state=job_state, actions=actions, requeue_after=requeue_after
    )


def _places(action: Action) -> tuple[str, ...]:
    """Returns the names, as `Kind/name`, that an action takes."""
    if not isinstance(action, Create | Apply):
        return ()
    kind, name = action.body["kind"], action.body["metadata"]["name"]
    if kind != "RayService":
        return (f"{kind}/{name}",)
    # KubeRay overwrites the Service of this name, whoever made it.
    return f"{kind}/{name}", f"Service/{action.body['spec']['serveService']['metadata']['name']}"
