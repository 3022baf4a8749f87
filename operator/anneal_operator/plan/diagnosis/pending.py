"""Why pods do not run yet. It ends by itself, or when somebody mends it; too long a wait ends the attempt."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from datetime import datetime
from typing import Any

from anneal_api.attempt import Part
from anneal_api.status import StatusReason
from anneal_operator.plan.diagnosis.failed import hint_of_memory, reason_of_exit
from anneal_operator.plan.diagnosis.reasons import Diagnosis, diagnose
from anneal_operator.plan.observations import containers, is_leaving, labels_of, refusals, status_of
from anneal_operator.plan.observed import Object
from anneal_operator.plan.timestamps import latest, parse_time
from anneal_operator.resources.names import QUEUE_LABEL

_PULLS = frozenset(
    {"ErrImagePull", "ImagePullBackOff", "InvalidImageName", "ErrImageNeverPull", "RegistryUnavailable"}
)
_SECRET = re.compile(r"secret \"?[^\"\s]+\"? not found|couldn't find key \S+ in Secret", re.IGNORECASE)
_CLAIM = re.compile(r"persistentvolumeclaim \"?[^\"\s]+\"? (not found|is being deleted)")
_CONFIG_MAP = re.compile(r"configmap \"?[^\"\s]+\"? not found")
_MOUNT_EVENTS = frozenset({"FailedMount", "FailedAttachVolume"})
_REFUSED = re.compile(r"^Failed(ToCreate.*|Create.*)$")
_OWN_CONTAINERS = frozenset({"ray-head", "ray-worker", *(part.value for part in Part)})
_NO_CONFIG_MAP = "Create the ConfigMap in the job's namespace, or correct its name in the manifest."


def why_waiting(body: Object, pods: Iterable[Object], warnings: Iterable[Object]) -> Diagnosis | None:
    """Returns what keeps pods from running; None where nothing does, as far as is known.

    Args:
        body: The Job, RayJob or RayService.
        pods: Its pods.
        warnings: Events of type Warning of the whole job, the newest last.
    """
    pods, warnings = tuple(pods), tuple(warnings)
    for pod in pods:
        if is_leaving(pod) or status_of(pod).get("phase", "Pending") not in {"Pending", "Running"}:
            continue
        found = _container_waits(pod) or _not_scheduled(pod) or _not_mounted(pod, warnings)
        if found is not None:
            return found
    return _pods_refused(body, pods, warnings)


def crashes(pods: Iterable[Object], limit: int) -> Diagnosis | None:
    """Returns why a container ends again and again, once it was started anew so often that it will go on so.

    Args:
        pods: The pods.
        limit: How often a container may be started anew.
    """
    for pod in pods:
        for container in containers(pod):
            # What else is in the pod is its own affair, and what runs at present may have been through a few reboots.
            ours = container.get("name") in _OWN_CONTAINERS and not (container.get("state") or {}).get(
                "running"
            )
            if ours and int(container.get("restartCount") or 0) >= limit and not is_leaving(pod):
                return _crashes(pod, container)
    return None


def why_held(body: Object) -> tuple[str, str]:
    """Returns what holds back a suspended Job or RayJob, and what a person can do about it.

    Args:
        body: The Job or RayJob.
    """
    queue = labels_of(body).get(QUEUE_LABEL)
    if queue:
        return (
            f"Waits until the queue {queue} admits it.",
            "See what it waits for: kubectl describe workloads.",
        )
    kind, name = body["kind"], body["metadata"]["name"]
    patch = f'kubectl patch {kind.lower()} {name} --type=merge --patch=\'{{"spec":{{"suspend":false}}}}\''
    return f"Somebody suspended its {kind} {name}.", f"To let it go on: {patch}"


def _container_waits(pod: Object) -> Diagnosis | None:
    for container in containers(pod):
        waiting = (container.get("state") or {}).get("waiting") or {}
        reason, message = str(waiting.get("reason", "")), str(waiting.get("message", ""))
        image = container.get("image", "")
        if reason in _PULLS:
            return diagnose(
                StatusReason.IMAGE_PULL, f"The image {image} cannot be pulled ({reason}): {message}"
            )
        if reason == "CreateContainerConfigError" and _SECRET.search(message):
            return diagnose(StatusReason.SECRET_NOT_FOUND, f"A pod cannot start: {message}.")
        if reason in {"CreateContainerConfigError", "CreateContainerError", "RunContainerError"}:
            return diagnose(StatusReason.REJECTED, f"A container cannot start ({reason}): {message}")
        if reason == "CrashLoopBackOff":
            return _crashes(pod, container)
    return None


def _crashes(pod: Object, container: Mapping[str, Any]) -> Diagnosis:
    states = (container.get("state") or {}, container.get("lastState") or {})
    last: Mapping[str, Any] = next((s["terminated"] for s in states if s.get("terminated")), {})
    if last.get("reason") == "OOMKilled":
        what = f"The container {container.get('name')} uses more memory than its limit, again and again."
        return diagnose(StatusReason.OUT_OF_MEMORY, what, hint_of_memory(pod))
    what = f"The container {container.get('name')} ends again and again (exit code {last.get('exitCode')})."
    return diagnose(reason_of_exit(last.get("exitCode")), what)


def _not_scheduled(pod: Object) -> Diagnosis | None:
    for condition in status_of(pod).get("conditions") or ():
        unscheduled = condition.get("type") == "PodScheduled" and condition.get("status") == "False"
        if unscheduled and condition.get("reason") == "Unschedulable":
            message = str(condition.get("message", "no node takes the pod"))
            if _CLAIM.search(message):
                return diagnose(StatusReason.VOLUME_NOT_FOUND, f"A pod cannot be placed: {message}")
            hint = ""
            if "PersistentVolumeClaim" in message:
                hint = "See why the PersistentVolumeClaim is not bound: kubectl describe pvc."
            return diagnose(StatusReason.UNSCHEDULABLE, f"No node takes a pod: {message}", hint)
    return None


def _not_mounted(pod: Object, warnings: tuple[Object, ...]) -> Diagnosis | None:
    if status_of(pod).get("phase") == "Running":
        return None
    about = [event for event in warnings if _subject(event).get("name") == pod["metadata"]["name"]]
    mounts = [event for event in about if event.get("reason") in _MOUNT_EVENTS]
    if not mounts:
        return None
    # One volume that is missing makes the kubelet complain of all the others too, without a name.
    message = next((text for text in map(_text, mounts) if "not found" in text), _text(mounts[-1]))
    reason = StatusReason.SECRET_NOT_FOUND if _SECRET.search(message) else StatusReason.VOLUME_NOT_FOUND
    hint = _NO_CONFIG_MAP if _CONFIG_MAP.search(message) else ""
    return diagnose(reason, f"A volume cannot be mounted: {message}", hint)


def _pods_refused(body: Object, pods: tuple[Object, ...], warnings: tuple[Object, ...]) -> Diagnosis | None:
    name, kind = body["metadata"]["name"], body["kind"]
    newest_pod = latest(*(parse_time(pod["metadata"].get("creationTimestamp")) for pod in pods))
    texts = refusals(body)
    for event in reversed(warnings):
        subject = _subject(event)
        # KubeRay makes the pods through a RayCluster, whose name begins with that of the RayJob or RayService.
        below = subject.get("kind") == "RayCluster" and str(subject.get("name", "")).startswith(f"{name}-")
        # The Job that submits a RayJob's driver has the RayJob's name.
        kinds = {kind, "Job"} if kind == "RayJob" else {kind}
        itself = subject.get("kind") in kinds and subject.get("name") == name
        if (
            (below or itself)
            and _REFUSED.match(str(event.get("reason", "")))
            and not _is_past(event, newest_pod)
        ):
            texts.append(_text(event))
    for text in texts:
        if "exceeded quota" in text:
            return diagnose(StatusReason.QUOTA_EXCEEDED, f"A pod may not be created: {text}")
        if "forbidden" in text or "denied the request" in text:
            return diagnose(StatusReason.REJECTED, f"A pod may not be created: {text}")
    return None


def _is_past(event: Object, newest_pod: datetime | None) -> bool:
    """Whether a pod was created after all, since the event told that none could be."""
    series = event.get("series") or {}
    seen = latest(
        parse_time(series.get("lastObservedTime")),
        parse_time(event.get("lastTimestamp") or event.get("deprecatedLastTimestamp")),
        parse_time(event.get("eventTime")),
    )
    return seen is not None and newest_pod is not None and seen < newest_pod


def _subject(event: Object) -> Mapping[str, Any]:
    return event.get("involvedObject") or event.get("regarding") or {}


def _text(event: Object) -> str:
    return str(event.get("message") or event.get("note") or "")
