"""Why a part of an attempt came to a bad end: from its own report, its pods, and what the controllers say."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from typing import Any

from anneal_api.attempt import Part, PartFailure, PartReport
from anneal_api.errors import ExitCode, Reason
from anneal_api.status import StatusReason
from anneal_operator.plan.diagnosis.reasons import Diagnosis, diagnose
from anneal_operator.plan.observations import containers, is_leaving, labels_of, status_of, why_ended
from anneal_operator.plan.observed import Object
from anneal_operator.resources import names
from anneal_operator.resources.names import JOB_LABEL, PART_LABEL

_NODE_TYPE = "ray.io/node-type"
_RAY_OWNER = "ray.io/originated-from-cr-name"
_DRIVER_ENDED = frozenset({"SUCCEEDED", "FAILED", "STOPPED"})
_DISK = re.compile(r"ephemeral[- ](local )?storage|DiskPressure|usage of .* exceeds the (total )?limit")

_SYMPTOMS = frozenset(
    {Reason.INTERNAL, Reason.COLLECTIVE, Reason.USER_CODE, Reason.INTERRUPTED, Reason.RESOURCE_UNAVAILABLE}
)
"""What a driver says when it only sees that a worker is gone; the pods know why."""

_REASONS_OF_REPORTS = {
    Reason.MANIFEST_INVALID: StatusReason.MANIFEST_INVALID,
    Reason.DATA_INVALID: StatusReason.DATA_INVALID,
    Reason.MODEL_NOT_FOUND: StatusReason.MODEL_NOT_FOUND,
    Reason.GATE_NOT_PASSED: StatusReason.GATE_NOT_PASSED,
    Reason.ARTIFACT_INVALID: StatusReason.ARTIFACT_INVALID,
    Reason.OUT_OF_MEMORY: StatusReason.OUT_OF_MEMORY,
    Reason.DISK_FULL: StatusReason.DISK_FULL,
    Reason.COLLECTIVE: StatusReason.COLLECTIVE,
    Reason.USER_CODE: StatusReason.USER_CODE,
    Reason.INTERRUPTED: StatusReason.PREEMPTED,
}
_REASONS_OF_EXITS = {
    ExitCode.MANIFEST_INVALID: StatusReason.MANIFEST_INVALID,
    ExitCode.DATA_INVALID: StatusReason.DATA_INVALID,
    ExitCode.MODEL_NOT_FOUND: StatusReason.MODEL_NOT_FOUND,
    ExitCode.GATE_NOT_PASSED: StatusReason.GATE_NOT_PASSED,
    ExitCode.TRAINING_FAILED: StatusReason.USER_CODE,
    ExitCode.ARTIFACT_INVALID: StatusReason.ARTIFACT_INVALID,
}
_HINTS_OF_MEMORY = {
    Part.PREPARE: "The memory of this step is a setting of the operator: raise its runtime.stepResources.",
    Part.FINISH: "The memory of this step is a setting of the operator: raise its runtime.stepResources.",
}
_HINT_OF_HEADS_MEMORY = (
    "The memory of the Ray head is a setting of the operator: raise its runtime.headResources"
)
_HINT_OF_NODE_DISKS = (
    "Free some space on the node's disk, or use nodes with larger ones: pods keep there what they download, and what "
    "they need of a store in a bucket."
)


def why_failed(
    part: Part, body: Object | None, report: PartReport | None, pods: Iterable[Object]
) -> Diagnosis:
    """Returns why a part failed.

    The pods outrank a report of mere symptoms: a worker that the kernel killed looks to the others like a lost
    connection.

    Args:
        part: The part.
        body: Its Job or RayJob, at its end; None where somebody deleted it.
        report: What it last reported.
        pods: Its pods, as far as they are still there.
    """
    told = report.failure if report is not None else None
    if told is None or told.reason in _SYMPTOMS:
        found = killed(part, pods)
        if found is not None:
            return found
    if told is not None:
        return of_report(told)
    if body is None:
        return diagnose(
            StatusReason.INTERNAL, f"The {kind_of(part)} of the {part} part was deleted while it ran."
        )
    return _ended(part, body, report, pods)


def of_report(failure: PartFailure) -> Diagnosis:
    """Returns what a part says of its own failure."""
    reason = _REASONS_OF_REPORTS.get(failure.reason, StatusReason.INTERNAL)
    place = f"{failure.where}: " if failure.where else ""
    return diagnose(reason, f"{place}{failure.message}", failure.hint)


def kind_of(part: Part) -> str:
    """Returns the kind of the object that runs a part."""
    return "RayJob" if part is Part.TRAIN else "Job"


def killed_for_memory(part: Part | None, pods: Iterable[Object]) -> Diagnosis | None:
    """Returns the diagnosis where the kernel killed a container for its memory; None where it killed none.

    Args:
        part: The part that the pods run; None: they run none.
        pods: The pods.
    """
    for pod in pods:
        for container in containers(pod):
            ends = [(container.get(state) or {}).get("terminated") or {} for state in ("state", "lastState")]
            if any(end.get("reason") == "OOMKilled" for end in ends):
                return _too_much_memory(part, pod, str(container.get("name", "")))
    return None


def reason_of_exit(code: object) -> StatusReason:
    """Returns why a container of ours ended, as far as its exit code tells."""
    if not isinstance(code, int) or code not in _REASONS_OF_EXITS:
        return StatusReason.INTERNAL
    return _REASONS_OF_EXITS[ExitCode(code)]


def hint_of_memory(pod: Object, part: Part | None = None) -> str:
    """Returns what to do where a pod uses more memory than it may; empty: what usually helps.

    Args:
        pod: The pod.
        part: The part that it runs; None: it runs none.
    """
    labels = labels_of(pod)
    is_head = labels.get(_NODE_TYPE) == "head"
    if _serves(pod):
        # An operator leaves one that stands as it is.
        service = labels.get(_RAY_OWNER) or names.service_name(labels.get(JOB_LABEL) or "x")
        then = f"then delete the RayService {service}: a service that stands keeps its old resources."
        if is_head:
            return f"{_HINT_OF_HEADS_MEMORY}, {then}"
        return (
            f"Lower spec.serving.maxBatchTokens, or raise the operator's runtime.servingResources and {then}"
        )
    if is_head:
        return f"{_HINT_OF_HEADS_MEMORY}."
    return _HINTS_OF_MEMORY.get(part, "") if part is not None else ""


def killed(part: Part, pods: Iterable[Object]) -> Diagnosis | None:
    """Returns the diagnosis where a pod did not end by itself; None where none was made to end."""
    pods = tuple(pods)
    found = killed_for_memory(part, pods)
    if found is not None:
        return found
    for pod in pods:
        status = status_of(pod)
        message = str(status.get("message", ""))
        if status.get("reason") == "Evicted":
            if _DISK.search(message):
                return diagnose(StatusReason.DISK_FULL, f"A pod was evicted: {message}", _HINT_OF_NODE_DISKS)
            return diagnose(StatusReason.PREEMPTED, f"A pod was evicted: {message}")
        for condition in status.get("conditions") or ():
            if condition.get("type") == "DisruptionTarget" and condition.get("status") == "True":
                why = ": ".join(str(condition[key]) for key in ("reason", "message") if condition.get(key))
                return diagnose(StatusReason.PREEMPTED, f"A pod had to go: {why}")
    return None


def _too_much_memory(part: Part | None, pod: Object, container: str) -> Diagnosis:
    role = labels_of(pod).get(_NODE_TYPE, "")
    worker = "A serving pod" if _serves(pod) else "A training worker"
    who = {"head": "The Ray head", "worker": worker}.get(role, "A pod")
    limit = _memory_limit(pod, container)
    of_limit = f" of {limit}" if limit else ""
    what = f"{who} was killed: it used more memory than its limit{of_limit}."
    return diagnose(StatusReason.OUT_OF_MEMORY, what, hint_of_memory(pod, part))


def _serves(pod: Object) -> bool:
    return labels_of(pod).get(PART_LABEL) == "serve"


def _memory_limit(pod: Object, container: str) -> str:
    specs: Iterable[Mapping[str, Any]] = (pod.get("spec") or {}).get("containers") or ()
    found = next((spec for spec in specs if spec.get("name") == container), {})
    return str(((found.get("resources") or {}).get("limits") or {}).get("memory", ""))


def _ended(part: Part, body: Object, report: PartReport | None, pods: Iterable[Object]) -> Diagnosis:
    said = why_ended(body)
    if "DeadlineExceeded" in said:
        return diagnose(StatusReason.DEADLINE, f"The {part} part ran into the deadline.")
    if status_of(body).get("jobDeploymentStatus") == "ValidationFailed":
        return diagnose(StatusReason.REJECTED, f"KubeRay does not accept the RayJob: {said}")
    pods = tuple(pods)
    if part is Part.TRAIN and report is not None and _head_is_lost(body, pods):
        what = "The pod of the Ray head, in which training is led, is gone: somebody deleted it, or its node was lost."
        return diagnose(StatusReason.PREEMPTED, what)
    codes = [code for pod in pods for code in _exit_codes(pod) if code]
    reasons = (reason for reason in map(reason_of_exit, codes) if reason is not StatusReason.INTERNAL)
    known = next(reasons, StatusReason.INTERNAL)
    ended = f"The {part} part ended"
    if codes:
        ended += f" with exit code {codes[0]}"
    if report is not None and report.failure is None and report.stage:
        ended += f" in the {report.stage} stage"
    suffix = f" ({said})" if said else ""
    return diagnose(known, f"{ended} and did not report why{suffix}.")


def _head_is_lost(body: Object, pods: Iterable[Object]) -> bool:
    """Whether a RayJob ended without anybody seeing its driver, which did report, end; and there is no head to ask."""
    there = any(labels_of(pod).get(_NODE_TYPE) == "head" and not is_leaving(pod) for pod in pods)
    return not there and status_of(body).get("jobStatus", "") not in _DRIVER_ENDED


def _exit_codes(pod: Object) -> list[int]:
    ends = [(container.get("state") or {}).get("terminated") or {} for container in containers(pod)]
    return [int(end["exitCode"]) for end in ends if isinstance(end.get("exitCode"), int)]
