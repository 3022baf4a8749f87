"""The whole behaviour of the operator: what is known goes in, what is to be done comes out.

The way of a generation is: manifest, attempt, prepare, train, finish, serve. Each step is written into the status
before anything of it is made, and names follow from the status alone; so whoever looks next, this operator or one that
was started a minute ago, goes on from there. Nothing is remembered between two calls.
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
from anneal_operator.plan import versions as known
from anneal_operator.plan.actions import Action, Apply, Create, Delete, Plan, SetFinalizer
from anneal_operator.plan.confirmation import Unconfirmed
from anneal_operator.plan.course import Course, course_of
from anneal_operator.plan.deletion import holds, plan_deletion, wants_cleanup
from anneal_operator.plan.leftovers import (
    kept_until,
    of_earlier_generations,
    of_finished,
    of_old_generations,
)
from anneal_operator.plan.memory import Memory, recall
from anneal_operator.plan.observed import Observed
from anneal_operator.plan.serving import Service, refusal_of, serve, with_traffic
from anneal_operator.plan.standing import Standing, has_failed, waits
from anneal_operator.plan.stores import store_for, with_stores
from anneal_operator.plan.telling import Outcome, finished_at, told
from anneal_operator.plan.trouble import Trouble, shortened, trouble

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
    memory = recall(observed)
    spec, problems = _read(observed, memory)
    if spec is not None:
        memory = with_stores(observed, memory, spec)
    if observed.deleting:
        return plan_deletion(observed, memory, spec)
    if spec is None:
        return told(observed, memory, _refused(memory, "\n".join(map(str, problems))))
    try:
        outcome = _carried_out(observed, memory, spec)
    except AnnealError as error:
        # A place that no pod can have, from the settings or from a report.
        return told(observed, memory, _refused(memory, str(error)))
    return told(observed, memory, _without_conflicts(observed, memory, outcome))


def _read(observed: Observed, memory: Memory) -> tuple[FineTuneJobSpec | None, tuple[Problem, ...]]:
    checked = _validated(
        observed.name, observed.namespace, json.dumps(observed.job.get("spec"), sort_keys=True)
    )
    if checked.job is None:
        return None, checked.problems
    if store_for(memory.run, memory.versions, checked.job.spec, observed.settings) is None:
        what = "The manifest names no model store, and the operator has none of its own."
        return None, (Problem(what, "spec.store.uri", "Write `pvc://CLAIM/PATH` or `s3://BUCKET/PREFIX`."),)
    return checked.job.spec, ()


@lru_cache(maxsize=256)
def _validated(name: str, namespace: str, spec: str) -> Validation:
    """Checks a spec, given as JSON. A job is looked at several times in a row with the same one."""
    metadata = {"name": name, "namespace": namespace}
    document = {"apiVersion": API_VERSION, "kind": KIND, "metadata": metadata, "spec": json.loads(spec)}
    return validate(document, place=Place.CLUSTER)


def _refused(memory: Memory, problems: str) -> Outcome:
    """Returns the outcome of a spec that cannot be carried out: nothing is made; what runs and serves is left alone."""
    why = Trouble(StatusReason.MANIFEST_INVALID, shortened(problems, _LONGEST_PROBLEMS), "")
    hint = trouble(StatusReason.MANIFEST_INVALID, "").hint
    course = Course(memory.run, tuple(memory.status.failures), memory.versions)
    service = Service(memory.versions, url=memory.status.url)
    return Outcome(None, course, service, has_failed(replace(why, hint=hint), None))


def _carried_out(observed: Observed, memory: Memory, spec: FineTuneJobSpec) -> Outcome:
    course = course_of(observed, memory, spec)
    target = known.asked_for(course.versions, spec, observed)
    edited = memory.status.observed_generation != observed.generation
    service = serve(observed, spec, course.versions, target, edited=edited)
    service = replace(service, versions=known.kept(service.versions, spec.retention))
    if target is not None:
        target = next(version for version in service.versions if version.version == target.version)
    standing = course.standing
    if standing is None:
        assert target is not None, "an attempt without anything to do has published"
        standing = _served(observed, spec, service, target)
    outcome = Outcome(spec, course, service, standing, target)
    if wants_cleanup(observed) != holds(observed):
        outcome = replace(outcome, actions=(SetFinalizer(present=wants_cleanup(observed)),))
    # What is refused ends a look, so what people's requests depend on comes before what trains the next version.
    outcome = replace(outcome, actions=(*outcome.actions, *service.actions, *course.actions))
    outcome = replace(outcome, look_again=(*course.look_again, *service.look_again))
    if outcome.finished:
        return _tidied(observed, memory, outcome)
    old = of_old_generations(observed, course.run, service.versions)
    return replace(
        outcome, actions=(*outcome.actions, *(each for each in old if each not in outcome.actions))
    )


def _served(observed: Observed, spec: FineTuneJobSpec, service: Service, target: VersionStatus) -> Standing:
    """Returns where a job stands whose version is published."""
    name = f"v{target.version}"
    if spec.serving is None:
        return Standing(Phase.SUCCEEDED, StatusReason.DONE, f"{name} is published.")
    refusal = refusal_of(target, observed.generation)
    if refusal is not None:
        return has_failed(Trouble(refusal.reason, refusal.message, refusal.hint), None)
    if service.ready and target.state is VersionState.SERVING:
        return Standing(Phase.READY, StatusReason.SERVING, f"{name} answers at {service.url}.")
    if service.trouble is not None:
        standing = waits(Phase.DEPLOYING, service.trouble, None)
        return replace(standing, going=not service.overdue)
    if target.state is VersionState.SERVING:
        return Standing(Phase.DEPLOYING, StatusReason.DEPLOYING, f"The service of {name} is being changed.")
    carries = any(v.version == target.version and v.traffic for v in with_traffic(observed, service.versions))
    what = (
        f"{name} answers all requests, and is compared with what was measured."
        if carries
        else f"Deploys {name}."
    )
    return Standing(Phase.DEPLOYING, StatusReason.DEPLOYING, what)


def _tidied(observed: Observed, memory: Memory, outcome: Outcome) -> Outcome:
    """Returns the outcome of a job that has come to its end, with what is no longer needed deleted."""
    spec = outcome.spec
    assert spec is not None
    actions = list(of_earlier_generations(observed, outcome.course.run, outcome.service.versions))
    look_again = list(outcome.look_again)
    until = kept_until(spec.retention, finished_at(observed, memory, outcome))
    if until is not None:
        left = (until - observed.now).total_seconds()
        if left > 0:
            look_again.append(left)
        else:
            actions += of_finished(observed)
    new = [action for action in dict.fromkeys(actions) if action not in outcome.actions]
    return replace(outcome, actions=(*outcome.actions, *new), look_again=tuple(look_again))


def _without_conflicts(observed: Observed, memory: Memory, outcome: Outcome) -> Outcome:
    """Returns the outcome, or, where a name that it needs is another object's, one that makes nothing."""
    needed = {place for action in outcome.actions for place in _places(action)}
    taken = sorted(needed & observed.foreign)
    if not taken:
        return outcome
    kind, _, name = taken[0].partition("/")
    what = f"There is a {kind} named {name} that does not belong to this job, which needs the name."
    why = trouble(StatusReason.NAME_CONFLICT, what)
    course = outcome.course
    if any(place in taken for action in course.actions for place in _places(action)):
        # As if nothing had been decided: an attempt is not begun before it can be.
        course = Course(memory.run, tuple(memory.status.failures), memory.versions)
        standing = waits(Phase.PENDING, why, outcome.standing.part)
        outcome = replace(outcome, target=None, service=replace(outcome.service, versions=memory.versions))
    else:
        standing = waits(outcome.standing.phase, why, outcome.standing.part)
        if standing.phase is Phase.READY:
            standing = replace(standing, phase=Phase.DEPLOYING)
    actions = tuple(a for a in outcome.actions if isinstance(a, Delete | SetFinalizer))
    look_again = (*outcome.look_again, CONFLICT_RETRY_SECONDS)
    return replace(outcome, course=course, standing=standing, actions=actions, look_again=look_again)


def _places(action: Action) -> tuple[str, ...]:
    """Returns the names, as `Kind/name`, that an action takes."""
    if not isinstance(action, Create | Apply):
        return ()
    kind, name = action.body["kind"], action.body["metadata"]["name"]
    if kind != "RayService":
        return (f"{kind}/{name}",)
    # KubeRay overwrites the Service of this name, whoever made it.
    return f"{kind}/{name}", f"Service/{action.body['spec']['serveService']['metadata']['name']}"
