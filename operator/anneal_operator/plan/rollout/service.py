"""Serving: one RayService that answers with one version, which has to answer as it was measured before it counts.

What is served follows from the versions alone, whatever training does meanwhile: the version that the spec asks for,
unless it was refused under this very spec; else the one that serves; else one whose deployment has begun.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any

from anneal_api.job import FineTuneJobSpec
from anneal_api.status import Refusal, StatusReason, VersionState, VersionStatus
from anneal_operator.plan import liveness
from anneal_operator.plan.actions import Action, Apply, Create, Delete
from anneal_operator.plan.confirmation import ref_of, require_live
from anneal_operator.plan.diagnosis.failed import killed_for_memory
from anneal_operator.plan.diagnosis.pending import why_waiting
from anneal_operator.plan.diagnosis.reasons import Diagnosis, diagnose
from anneal_operator.plan.garbage import PARITY, deletions
from anneal_operator.plan.observations import (
    answers,
    condition_of,
    has_ended,
    has_succeeded,
    is_available,
    is_leaving,
    labels_of,
    number,
    pods_with,
    why_ended,
)
from anneal_operator.plan.observed import Object, Observed
from anneal_operator.plan.rollout import versions as known
from anneal_operator.plan.steps import KUBERAY_RETRY_SECONDS, LOOK_AGAIN_SECONDS
from anneal_operator.plan.stores import pinned
from anneal_operator.plan.timestamps import format_time, parse_time
from anneal_operator.resources import names
from anneal_operator.resources.intent import differs
from anneal_operator.resources.names import PART_LABEL, VERSION_LABEL, probe_name
from anneal_operator.resources.parity_jobs import parity_job, service_url
from anneal_operator.resources.rayservices import keeping_cluster, ray_service
from anneal_operator.resources.serving_objects import disruption_budget

_LOOKED_AT_SECONDS = 90.0
_GIVEN_UP = "InitializingTimeout"


@dataclass(frozen=True, slots=True)
class Service:
    """What serving has come to.

    Attributes:
        versions: The published versions, as they have become.
        wanted: The version that is, or is to be, served; None: none.
        ready: Whether it answers, and did so as it was measured.
        diagnosis: What keeps it from that.
        overdue: Whether it has taken longer than it may.
        url: Where the model answers; empty: nowhere.
        actions: What to do.
        requeue_after: Seconds until time alone may change this.
    """

    versions: tuple[VersionStatus, ...]
    wanted: VersionStatus | None = None
    ready: bool = False
    diagnosis: Diagnosis | None = None
    overdue: bool = False
    url: str = ""
    actions: tuple[Action, ...] = ()
    requeue_after: tuple[float, ...] = field(default=())


def serve(
    observed: Observed,
    spec: FineTuneJobSpec,
    versions: tuple[VersionStatus, ...],
    target: VersionStatus | None,
    *,
    edited: bool,
) -> Service:
    """Returns what to do about serving.

    Args:
        observed: What is known.
        spec: The spec.
        versions: The published versions.
        target: The version that the spec asks for; None: it is not made yet.
        edited: Whether the spec is looked at for the first time: a deployment then has its whole time again.
    """
    if spec.serving is None:
        return _not_served(observed, versions, target)
    target, versions, again = _tried_again(observed, versions, target)
    wanted = _wanted(versions, None if again else target, observed.generation)
    versions = tuple(
        v
        if wanted is not None and v.version == wanted.version and not edited
        else v.model_copy(update={"deploying_since": None})
        for v in versions
    )
    stale = _stale_probes(observed, versions, wanted)
    if wanted is None:
        service = Service(versions)
    elif not observed.kuberay:
        missing = diagnose(StatusReason.KUBERAY_MISSING, "The cluster does not know RayServices.")
        service = Service(versions, wanted, diagnosis=missing, requeue_after=(KUBERAY_RETRY_SECONDS,))
    else:
        wanted = next(version for version in versions if version.version == wanted.version)
        service = _deployed(observed, spec, versions, wanted)
    url = (
        service_url(observed.job, service_name(observed))
        if known.serving(service.versions) is not None
        else ""
    )
    return replace(service, url=url, actions=(*stale, *service.actions))


def service_name(observed: Observed) -> str:
    """Returns the name of the job's RayService. An earlier release cut names shorter: what people call stays there."""
    earlier = names.base_name(observed.name)
    known = any(observed.child(kind, earlier) is not None for kind in ("RayService", "PodDisruptionBudget"))
    url = (observed.job.get("status") or {}).get("url")
    known |= url == service_url(observed.job, earlier)
    return earlier if known else names.service_name(observed.name)


def _serving_objects(observed: Observed) -> list[Object]:
    """Returns what is there for serving, under whichever name a release has given it."""
    return [child for child in observed.children if child["kind"] in {"RayService", "PodDisruptionBudget"}]


def service_of(observed: Observed) -> Object | None:
    """Returns the job's RayService; None where it has none."""
    return observed.child("RayService", service_name(observed))


def with_traffic(observed: Observed, versions: tuple[VersionStatus, ...]) -> tuple[VersionStatus, ...]:
    """Returns the versions with the traffic that each carries at this moment, proven or not.

    While KubeRay changes a RayService nobody can say which of its replicas have changed already; the traffic is told
    to be where it was until all have.

    Args:
        observed: What is known.
        versions: The published versions.
    """
    if not observed.kuberay:
        return versions
    live = service_of(observed)
    if live is None or is_leaving(live) or not is_available(live):
        return known.carrying(versions, None)
    number_ = number(labels_of(live), VERSION_LABEL)
    is_told = any(version.version == number_ for version in versions)
    return known.carrying(versions, number_) if answers(live) and is_told else versions


def is_available_now(observed: Observed) -> bool | None:
    """Returns whether the model answers at this moment; None where nobody can say."""
    if not observed.kuberay:
        return None
    live = service_of(observed)
    return live is not None and not is_leaving(live) and is_available(live)


def refusal_of(version: VersionStatus | None, generation: int) -> Refusal | None:
    """Returns why a version may not serve under a generation of the spec; None where it may."""
    if version is None or version.refused is None or version.refused.generation != generation:
        return None
    return version.refused


def _not_served(
    observed: Observed, versions: tuple[VersionStatus, ...], target: VersionStatus | None
) -> Service:
    gone = [*_serving_objects(observed), *_probes(observed)]
    if target is not None:
        # It was asked for because it served. It still is once it does not: as the newest.
        versions = known.with_version(versions, target)
    return Service(known.retired(versions), actions=deletions(gone))


def _tried_again(
    observed: Observed, versions: tuple[VersionStatus, ...], target: VersionStatus | None
) -> tuple[VersionStatus | None, tuple[VersionStatus, ...], bool]:
    """Clears the refusal of a version that an edited spec asks for, once the probe that refused it is gone.

    Returns the version, all versions, and whether it still has to wait.
    """
    if target is None or target.refused is None or target.refused.generation == observed.generation:
        return target, versions, False
    if observed.child("Job", probe_name(observed.name, target.version)) is not None:
        return target, versions, True
    cleared = target.model_copy(update={"refused": None, "deploying_since": None})
    return cleared, known.replaced(versions, cleared), False


def _wanted(
    versions: tuple[VersionStatus, ...], target: VersionStatus | None, generation: int
) -> VersionStatus | None:
    if target is not None and refusal_of(target, generation) is None:
        return target
    # A first version whose deployment has begun is worth having while the next one trains.
    begun = [v for v in versions if v.deploying_since is not None and v.refused is None]
    return known.serving(versions) or (begun[-1] if begun else None)


def _stale_probes(
    observed: Observed, versions: tuple[VersionStatus, ...], wanted: VersionStatus | None
) -> tuple[Delete, ...]:
    """Returns the deletion of probes that tell of no deployment of now."""
    refused = {v.version for v in versions if refusal_of(v, observed.generation) is not None}
    serving = known.serving(versions)
    telling = refused | {v.version for v in (wanted, serving) if v is not None}
    return deletions(p for p in _probes(observed) if number(labels_of(p), VERSION_LABEL) not in telling)


def _probes(observed: Observed) -> list[Object]:
    jobs = [child for child in observed.children if child["kind"] == "Job"]
    return [job for job in jobs if labels_of(job).get(PART_LABEL) == PARITY]


def _deployed(
    observed: Observed, spec: FineTuneJobSpec, versions: tuple[VersionStatus, ...], wanted: VersionStatus
) -> Service:
    name = service_name(observed)
    live = observed.child("RayService", name)
    at, settings = pinned(spec, observed.settings, wanted.store)
    body = ray_service(observed.job, at, wanted, settings, name)
    actions: list[Action] = []
    settled = False
    if live is None:
        actions.append(Apply(body))
    elif is_leaving(live):
        pass
    elif (condition_of(live, "Ready") or {}).get("reason") == _GIVEN_UP:
        # KubeRay never looks at it again.
        require_live(observed, ref_of(live))
        actions += deletions([live])
    else:
        body = keeping_cluster(live, body)
        settled = not differs(live, body)
        actions += [] if settled else [Apply(body)]
    actions += _budget(observed, spec, name)
    answering = settled and live is not None and answers(live)
    # Of two budgets for a pod Kubernetes obeys neither, and evicts nothing. Another service goes when this one answers.
    others = [body for body in _serving_objects(observed) if body["metadata"]["name"] != name]
    actions += deletions(other for other in others if answering or other["kind"] != "RayService")
    why = _why_unready(observed, live, body) if not answering else None
    if why is None and wanted.state is VersionState.SERVING and not is_available_now(observed):
        why = diagnose(StatusReason.UNAVAILABLE, f"v{wanted.version} does not answer at present.")
    if wanted.state is VersionState.SERVING:
        look = () if answering else (LOOK_AGAIN_SECONDS,)
        return Service(versions, wanted, answering, why, actions=tuple(actions), requeue_after=look)
    waited = _deployed_for(observed, wanted)
    since = wanted.deploying_since or format_time(observed.now)
    wanted = wanted.model_copy(update={"deploying_since": since})
    service = Service(known.replaced(versions, wanted), wanted, diagnosis=why, actions=tuple(actions))
    if answering:
        return _judged(observed, spec, service, waited)
    return _overdue(observed, service, waited)


def _deployed_for(observed: Observed, wanted: VersionStatus) -> float:
    """Returns for how many seconds a version has been asked to serve."""
    began = parse_time(wanted.deploying_since)
    if began is None:
        return 0.0  # it begins now, perhaps once more, because the manifest was edited
    seen = observed.lasted(liveness.deploying(wanted.version))
    # An operator that is often started anew would see nothing last: what it has looked at a while, it counts whole.
    counted = (observed.now - began).total_seconds() if seen >= _LOOKED_AT_SECONDS else 0.0
    return max(seen, counted)


def _budget(observed: Observed, spec: FineTuneJobSpec, name: str) -> list[Action]:
    body = disruption_budget(observed.job, spec, name)
    live = observed.child("PodDisruptionBudget", name)
    return [Apply(body)] if live is None or differs(live, body) else []


def _why_unready(observed: Observed, live: Object | None, body: Mapping[str, Any]) -> Diagnosis | None:
    subject = live if live is not None else body
    pods = pods_with({PART_LABEL: "serve"}, observed.pods)
    return why_waiting(subject, pods, observed.warnings) or killed_for_memory(None, pods)


def _judged(observed: Observed, spec: FineTuneJobSpec, service: Service, waited: float) -> Service:
    """Returns what comes of a version that answers: whether it does so as it was measured."""
    wanted = service.wanted
    assert wanted is not None
    probe = observed.child("Job", probe_name(observed.name, wanted.version))
    if probe is None:
        at, settings = pinned(spec, observed.settings, wanted.store)
        body = parity_job(observed.job, at, wanted, settings, service_name(observed))
        return replace(service, actions=(*service.actions, Create(body)), requeue_after=(LOOK_AGAIN_SECONDS,))
    if is_leaving(probe):
        return service
    if has_succeeded(probe):
        now_serving = known.promoted(service.versions, wanted)
        return replace(service, versions=now_serving, wanted=known.serving(now_serving), ready=True)
    pods = pods_with(labels_of(probe), observed.pods)
    if has_ended(probe):
        said = why_ended(probe)
        what = f"v{wanted.version} does not answer as it was measured{f' ({said})' if said else ''}."
        return _refused(
            observed, service, killed_for_memory(None, pods) or diagnose(StatusReason.PARITY_FAILED, what)
        )
    service = replace(service, diagnosis=why_waiting(probe, pods, observed.warnings))
    return _overdue(observed, service, min(waited, observed.lasted(liveness.unfinished(probe))))


def _overdue(observed: Observed, service: Service, waited: float) -> Service:
    """Returns what comes of a version that does not serve yet: with another one to fall back on, not for ever.

    Args:
        observed: What is known.
        service: What serving has come to.
        waited: Seconds since it was to answer, or since it answers and its probe was begun.
    """
    wanted, settings = service.wanted, observed.settings
    assert wanted is not None
    left = settings.unready_seconds - waited
    if left > 0:
        return replace(service, requeue_after=(left, LOOK_AGAIN_SECONDS))
    what = f"v{wanted.version} does not serve after {int(settings.unready_seconds)} s."
    why = service.diagnosis
    late = (
        diagnose(why.reason, f"{what} {why.message}", why.hint)
        if why
        else diagnose(StatusReason.INTERNAL, what)
    )
    if known.serving(service.versions) is None:
        return replace(service, diagnosis=late, overdue=True, requeue_after=(LOOK_AGAIN_SECONDS,))
    probe = probe_name(observed.name, wanted.version)
    require_live(observed, ("RayService", service_name(observed)), ("Job", probe))
    return _refused(observed, service, late)


def _refused(observed: Observed, service: Service, why: Diagnosis) -> Service:
    wanted = service.wanted
    assert wanted is not None
    refusal = Refusal(generation=observed.generation, reason=why.reason, message=why.message, hint=why.hint)
    refused = wanted.model_copy(update={"refused": refusal, "deploying_since": None})
    # The version that served before is applied by the next plan, which follows at once.
    return replace(
        service,
        versions=known.replaced(service.versions, refused),
        wanted=None,
        diagnosis=why,
        requeue_after=(0.0,),
    )
