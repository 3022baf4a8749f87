"""How a Job, RayJob or RayService stands, read from its status; and which pods are its."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from datetime import datetime
from typing import Any

from pydantic import ValidationError

from anneal_api.attempt import Part, PartReport
from anneal_operator.plan.observed import Object, Observed
from anneal_operator.plan.timestamps import latest, parse_time
from anneal_operator.resources.names import (
    ATTEMPT_LABEL,
    GENERATION_LABEL,
    PART_LABEL,
    VERSION_LABEL,
    attempt_name,
)

_TERMINAL_RAY_JOB = frozenset({"Complete", "Failed", "ValidationFailed"})
_HELD_RAY_JOB = frozenset({"Suspending", "Suspended"})
_IDENTIFYING = (PART_LABEL, GENERATION_LABEL, ATTEMPT_LABEL, VERSION_LABEL)


def labels_of(body: Object) -> Mapping[str, str]:
    """Returns an object's labels."""
    return body["metadata"].get("labels") or {}


def status_of(body: Object) -> Mapping[str, Any]:
    """Returns an object's status; empty where none is written yet."""
    return body.get("status") or {}


def is_leaving(body: Object) -> bool:
    """Returns whether an object is being deleted."""
    return "deletionTimestamp" in body["metadata"]


def is_true(body: Object, condition: str) -> bool:
    """Returns whether a condition of an object is there and `True`."""
    found = condition_of(body, condition)
    return found is not None and found.get("status") == "True"


def has_ended(body: Object) -> bool:
    """Returns whether a Job or RayJob has come to its end, good or bad."""
    if body["kind"] == "RayJob":
        return status_of(body).get("jobDeploymentStatus") in _TERMINAL_RAY_JOB
    return is_true(body, "Complete") or is_true(body, "Failed")


def has_succeeded(body: Object) -> bool:
    """Returns whether a Job or RayJob has come to a good end. KubeRay says Complete of a stopped RayJob too."""
    if body["kind"] == "RayJob":
        status = status_of(body)
        return status.get("jobDeploymentStatus") == "Complete" and status.get("jobStatus") == "SUCCEEDED"
    return is_true(body, "Complete")


def is_held(body: Object) -> bool:
    """Returns whether a Job or RayJob is suspended: by Kueue until its queue has room, or by a person."""
    if has_ended(body):
        return False
    held = status_of(body).get("jobDeploymentStatus") in _HELD_RAY_JOB
    return held or bool((body.get("spec") or {}).get("suspend"))


def has_driver(body: Object) -> bool:
    """Returns whether KubeRay has seen the driver of a RayJob; it calls one Running before it was submitted."""
    status = status_of(body)
    return bool(status.get("jobStatus") or (status.get("rayJobInfo") or {}).get("startTime"))


def has_begun(body: Object) -> bool:
    """Returns whether its controller has taken a Job or RayJob up."""
    if has_ended(body):
        return True
    begun = "jobDeploymentStatus" if body["kind"] == "RayJob" else "startTime"
    return not is_held(body) and bool(status_of(body).get(begun))


def ended_at(body: Object) -> datetime | None:
    """Returns when a Job or RayJob came to its end; None where that is not known."""
    status = status_of(body)
    failed = condition_of(body, "Failed") or {}
    return parse_time(
        status.get("endTime") or status.get("completionTime") or failed.get("lastTransitionTime")
    )


def why_ended(body: Object) -> str:
    """Returns what the controller of a Job or RayJob says about its bad end; may be empty."""
    status = status_of(body)
    source = status if body["kind"] == "RayJob" else condition_of(body, "Failed") or {}
    return ": ".join(str(source[key]) for key in ("reason", "message") if source.get(key))


def alive_since(body: Object, pods: Iterable[Object]) -> datetime | None:
    """Returns when the code of a Job or RayJob began to run; None where it does not run, as far as is known.

    A Job's own start counts from before it had a node, so its containers are asked.
    """
    status = status_of(body)
    started = [parse_time(state["startedAt"]) for state in _running(pods) if state.get("startedAt")]
    if body["kind"] == "RayJob":
        if status.get("jobDeploymentStatus") != "Running" or not has_driver(body):
            return None
        driver = (status.get("rayJobInfo") or {}).get("startTime")
        return latest(parse_time(driver), parse_time(status.get("startTime")), *started)
    return latest(*started)


def answers(service: Object) -> bool:
    """Returns whether a RayService answers as its newest spec says."""
    status, generation = status_of(service), service["metadata"].get("generation")
    seen = status.get("observedGeneration", generation)
    changing = is_true(service, "UpgradeInProgress")
    return is_available(service) and seen == generation and not changing


def is_available(service: Object) -> bool:
    """Returns whether a RayService answers at all, be it as an older spec says: KubeRay may be changing it."""
    return is_true(service, "Ready") and (status_of(service).get("numServeEndpoints") or 0) > 0


def refusals(body: Object) -> list[str]:
    """Returns why KubeRay could not create pods for a RayJob or RayService, in its own words."""
    status = status_of(body)
    parts = [status, status.get("activeServiceStatus") or {}, status.get("pendingServiceStatus") or {}]
    conditions = [c for part in parts for c in (part.get("rayClusterStatus") or {}).get("conditions") or ()]
    failures = [c for c in conditions if c.get("type") == "ReplicaFailure" and c.get("status") == "True"]
    return [str(failure.get("message", "")) for failure in failures]


def labels_of_part(generation: int, attempt: int, part: Part) -> dict[str, str]:
    """Returns the labels by which what belongs to a part of an attempt is told from the rest."""
    return {PART_LABEL: part.value, GENERATION_LABEL: str(generation), ATTEMPT_LABEL: str(attempt)}


def pods_with(labels: Mapping[str, str], pods: Iterable[Object]) -> tuple[Object, ...]:
    """Returns the pods of the part, service or probe that has the given labels, in the order of their names.

    Args:
        labels: Labels of the object that the pods are below.
        pods: All pods of the job.
    """
    wanted = {label: labels[label] for label in _IDENTIFYING if label in labels}
    found = [pod for pod in pods if _agrees(labels_of(pod), wanted)]
    # The order of an observation means nothing, and what is said about the pods must not change with it.
    return tuple(sorted(found, key=lambda pod: str(pod["metadata"]["name"])))


def containers(pod: Object) -> list[Mapping[str, Any]]:
    """Returns the statuses of a pod's containers, the init containers first."""
    status = status_of(pod)
    return [*(status.get("initContainerStatuses") or ()), *(status.get("containerStatuses") or ())]


def images_of(body: object) -> Iterator[str]:
    """Yields every container image that an object names, the first container's first."""
    if isinstance(body, Mapping):
        for key, value in body.items():
            if key == "image" and isinstance(value, str):
                yield value
            elif key not in {"status", "managedFields"}:
                yield from images_of(value)
    elif isinstance(body, Sequence) and not isinstance(body, str):
        for item in body:
            yield from images_of(item)


def number(labels: Mapping[str, str], label: str) -> int | None:
    """Returns the number in a label; None where there is none."""
    text = labels.get(label, "")
    return int(text) if text.isascii() and text.isdigit() else None


def _agrees(labels: Mapping[str, str], wanted: Mapping[str, str]) -> bool:
    # The pods of a RayService do not name the version: it changes under them.
    same_part = labels.get(PART_LABEL) == wanted.get(PART_LABEL)
    return same_part and all(labels[label] == value for label, value in wanted.items() if label in labels)


def condition_of(body: Object, kind: str) -> Mapping[str, Any] | None:
    """Returns a condition of an object; None where it has none of that type."""
    conditions = status_of(body).get("conditions") or ()
    return next((condition for condition in conditions if condition.get("type") == kind), None)


def _running(pods: Iterable[Object]) -> Iterator[Mapping[str, Any]]:
    for pod in pods:
        if status_of(pod).get("phase") == "Running":
            states = (status_of(pod).get("containerStatuses") or (),)
            yield from (c["state"]["running"] for c in states[0] if (c.get("state") or {}).get("running"))


def report_of(observed: Observed, generation: int, attempt: int, part: Part) -> PartReport | None:
    """Returns what a part of an attempt last reported; None where nothing that counts is there.

    Only a report that names the very job, generation, attempt and part counts.
    """
    board = observed.child("ConfigMap", attempt_name(observed.name, generation, attempt))
    return report_in(board, observed.uid, generation, attempt, part) if board is not None else None


def report_in(board: Object, uid: str, generation: int, attempt: int, part: Part) -> PartReport | None:
    """Returns what a part of an attempt last wrote into the attempt's ConfigMap; None where nothing of it counts.

    Args:
        board: The ConfigMap.
        uid: UID of the job.
        generation: Generation that the attempt belongs to.
        attempt: Number of the attempt.
        part: The part.
    """
    report = _read(board, part)
    if report is None:
        return None
    told = (report.job_uid, report.generation, report.attempt, report.part)
    return report if told == (uid, generation, attempt, part) else None


def reports_of(observed: Observed, generation: int, attempt: int) -> dict[Part, PartReport]:
    """Returns what the parts of an attempt last reported, by part."""
    found = {part: report_of(observed, generation, attempt, part) for part in Part}
    return {part: report for part, report in found.items() if report is not None}


def _read(board: Object, part: Part) -> PartReport | None:
    text = (board.get("data") or {}).get(f"{part.value}.json")
    if not isinstance(text, str):
        return None
    try:
        # A trainer that is newer than the operator may say more than the operator knows.
        return PartReport.model_validate_json(text, extra="ignore")
    except ValidationError:
        return None
