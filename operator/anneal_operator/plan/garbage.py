"""What of a job's past may go: attempts that are over, and what nobody needs once the job is finished."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from datetime import datetime

from anneal_api.attempt import Part
from anneal_api.schema import parse_duration
from anneal_api.spec.serving import Retention
from anneal_api.status import Run, StatusReason, VersionStatus
from anneal_operator.plan import liveness
from anneal_operator.plan.actions import Delete
from anneal_operator.plan.diagnosis.reasons import Diagnosis, diagnose
from anneal_operator.plan.observations import has_ended, is_leaving, labels_of, number, status_of
from anneal_operator.plan.observed import Object, Observed
from anneal_operator.plan.timestamps import after, parse_time
from anneal_operator.resources.names import ATTEMPT_LABEL, GENERATION_LABEL, PART_LABEL

PARITY = "parity"
"""Label of the Jobs that replay held-out rows."""

_PARTS = frozenset(part.value for part in Part)
_WORKLOADS = frozenset({"Job", "RayJob"})
_GENERATIONS_KEPT = 3
_USUAL_SECONDS = 120.0
_USUAL_GRACE_SECONDS = 30.0
_RIGHTS = frozenset({"ServiceAccount", "Role", "RoleBinding"})


def deletions(bodies: Iterable[Object]) -> tuple[Delete, ...]:
    """Returns the deletion of each object that is not on its way out already."""
    staying = [body for body in bodies if not is_leaving(body)]
    return tuple(Delete(body["kind"], body["metadata"]["name"], body["metadata"]["uid"]) for body in staying)


def active_workloads(observed: Observed, but: Run | None = None) -> tuple[Object, ...]:
    """Returns the Jobs and RayJobs of parts that have not come to their end.

    Args:
        observed: What is known.
        but: An attempt whose own are left out.
    """
    return tuple(
        child
        for child in observed.children
        if _is_part(child) and not has_ended(child) and not (but is not None and _is_of(child, but))
    )


def has_running_pods(observed: Observed) -> bool:
    """Returns whether pods of stopped parts may still be at work, writing into the same folders.

    Those are the pods whose Job or RayJob is gone, and those that are told to go, until their grace is over: what is
    left of them after that is on a node that is lost.
    """
    there = {_identity(labels_of(child)) for child in observed.children if _is_part(child)}
    for pod in observed.pods:
        labels = labels_of(pod)
        if labels.get(PART_LABEL) not in _PARTS or status_of(pod).get("phase") not in {"Pending", "Running"}:
            continue
        if is_leaving(pod):
            grace = pod["metadata"].get("deletionGracePeriodSeconds", _USUAL_GRACE_SECONDS)
            if observed.lasted(liveness.leaving(pod)) < grace:
                return True
        elif _identity(labels) not in there:
            return True
    return False


def why_terminating(observed: Observed, bodies: Iterable[Object]) -> Diagnosis | None:
    """Returns why objects that are being deleted are still there; None as long as that is nothing unusual."""
    for body in bodies:
        if observed.lasted(liveness.leaving(body)) >= _USUAL_SECONDS:
            since = body["metadata"]["deletionTimestamp"]
            kind, name = body["kind"], body["metadata"]["name"]
            what = f"The {kind} {name} has been waiting to be deleted since {since}."
            reason = StatusReason.KUBERAY_MISSING if kind == "RayJob" else StatusReason.INTERNAL
            hint = "See which finalizer holds it; a RayJob's is KubeRay's, whose operator has to run."
            return diagnose(reason, what, hint)
    return None


def of_old_generations(
    observed: Observed, run: Run | None, versions: Iterable[VersionStatus]
) -> tuple[Delete, ...]:
    """Returns the deletion of what all but the last generations left, however often the manifest is edited meanwhile.

    The records that a version, or the attempt under way, rests on stay.
    """
    found = {number(labels_of(child), GENERATION_LABEL) for child in observed.children}
    last = sorted(generation for generation in found if generation is not None)[-_GENERATIONS_KEPT:]
    working = {run.generation} if run is not None else set()
    needed = {version.generation for version in versions} | working

    def is_over(child: Object, generation: int) -> bool:
        if generation in last or generation in working:
            return False
        return child["kind"] != "ConfigMap" or generation not in needed

    return _deleted(observed, is_over)


def of_earlier_generations(
    observed: Observed, run: Run | None, versions: Iterable[VersionStatus]
) -> tuple[Delete, ...]:
    """Returns the deletion of what earlier generations left, once the present one has come to its end.

    The records that a version rests on stay as long as the version is told of.
    """
    needed = {version.generation for version in versions} | {observed.generation}
    newest = run.generation if run is not None else observed.generation

    def is_over(child: Object, generation: int) -> bool:
        if child["kind"] == "ConfigMap":
            return generation not in needed and generation < newest
        return generation < newest

    return _deleted(observed, is_over)


def of_finished(observed: Observed) -> tuple[Delete, ...]:
    """Returns the deletion of everything but the records, once the time to keep it is up."""
    others = [
        child
        for child in observed.children
        if labels_of(child).get(PART_LABEL) == PARITY
        or (child["kind"] in _RIGHTS and number(labels_of(child), GENERATION_LABEL) is None)
    ]
    return (*_deleted(observed, lambda child, _: child["kind"] != "ConfigMap"), *deletions(others))


def kept_until(retention: Retention | None, finished_at: str | None) -> datetime | None:
    """Returns until when a finished job's objects are kept; None where it has not finished."""
    finished = parse_time(finished_at)
    if finished is None:
        return None
    return after(finished, parse_duration((retention or Retention()).ttl_after_finished))


def _deleted(observed: Observed, is_over: Callable[[Object, int], bool]) -> tuple[Delete, ...]:
    found = []
    for child in observed.children:
        generation = number(labels_of(child), GENERATION_LABEL)
        of_attempt = _is_part(child) or child["kind"] in _RIGHTS or child["kind"] == "ConfigMap"
        if of_attempt and generation is not None and is_over(child, generation):
            found.append(child)
    return deletions(found)


def _is_part(child: Object) -> bool:
    return child["kind"] in _WORKLOADS and labels_of(child).get(PART_LABEL) in _PARTS


def _is_of(child: Object, run: Run) -> bool:
    return _identity(labels_of(child)) == (run.generation, run.attempt, run.part.value)


def _identity(labels: Mapping[str, str]) -> tuple[int | None, int | None, str | None]:
    """Returns which part of which attempt something belongs to."""
    return number(labels, GENERATION_LABEL), number(labels, ATTEMPT_LABEL), labels.get(PART_LABEL)
