"""Kubernetes, KubeRay and a job's pods in memory: what moves a job's objects on, or harms them."""

from __future__ import annotations

import json
from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from typing import Any

from model_results import content_of, failure, published

from anneal_api.attempt import Part
from anneal_operator.plan.observations import has_ended
from anneal_operator.plan.timestamps import format_time
from anneal_operator.resources.names import (
    ATTEMPT_LABEL,
    GENERATION_LABEL,
    PART_LABEL,
    VERSION_LABEL,
    attempt_name,
    generation_name,
)

START = datetime(2026, 1, 1, 12, tzinfo=UTC)
PARTS = {part.value for part in Part}


class ModelControllers:
    """The objects of one job, the pods below them, and the time.

    Args:
        name: The job's name.

    Attributes:
        now: The time by the API server's clock.
        nodes_ahead: Seconds by which the clocks of nodes, pods and controllers are ahead of it.
        monotonic: Seconds of the operator's clock that never jumps.
        objects: The objects, by kind and name.
        pods: The pods.
        stored: What the versions in the model store were made from, v1 first.
        bad_versions: Versions that answer otherwise than they were measured.
        unready_versions: Versions that never answer.
    """

    def __init__(self, name: str) -> None:
        self.name = name
        self.now = START
        self.nodes_ahead = 0.0
        self.monotonic = 0.0
        self.objects: dict[tuple[str, str], dict[str, Any]] = {}
        self.pods: list[dict[str, Any]] = []
        self.stored: list[str] = []
        self.bad_versions: set[int] = set()
        self.unready_versions: set[int] = set()

    @property
    def node_time(self) -> str:
        """The time as nodes, pods and controllers write it."""
        return format_time(self.now + timedelta(seconds=self.nodes_ahead))

    def tick(self, seconds: float) -> None:
        """Lets time pass."""
        self.now += timedelta(seconds=seconds)
        self.monotonic += seconds

    def remove(self, kind: str, name: str) -> None:
        """Deletes a child. A RayJob, which KubeRay's finalizer holds, and pods take a moment."""
        live = self.objects[kind, name]
        live["metadata"]["deletionTimestamp"] = format_time(self.now)
        if kind != "RayJob":
            del self.objects[kind, name]
            self._end_pods(live)

    def kill(self, reason: str) -> None:
        """Ends the pods of the active part, and with them the part."""
        for body in self.active_parts_bodies():
            for pod in self.pods_of(body):
                terminated = {"reason": reason, "exitCode": 137, "finishedAt": self.node_time}
                pod["status"]["phase"] = "Failed"
                if reason == "Evicted":
                    pod["status"] |= {"reason": "Evicted", "message": "The node was low on resource: memory."}
                else:
                    pod["status"]["containerStatuses"][0]["state"] = {"terminated": terminated}
            self.end(body, good=False)

    def fail(self, reason: str) -> None:
        """Lets the active part report a failure and end."""
        for body in self.active_parts_bodies():
            self.report(body, "Failed", failure=failure(reason))
            self.end(body, good=False)

    def work(self) -> None:
        """Moves everything in the cluster one step on."""
        self.pods = [pod for pod in self.pods if "deletionTimestamp" not in pod["metadata"]]
        for (kind, name), body in sorted(self.objects.items()):
            if "deletionTimestamp" in body["metadata"]:
                del self.objects[kind, name]
                self._end_pods(body)
            elif kind in {"Job", "RayJob"} and not has_ended(body):
                self._move(body)
            elif kind == "RayService":
                self._serve(body)

    def _move(self, body: dict[str, Any]) -> None:
        pods = self.pods_of(body)
        if not pods:
            self.start(body)
        elif pods[0]["status"]["phase"] == "Pending":
            self.run(body)
        else:
            self._finish(body)

    def start(self, body: dict[str, Any]) -> dict[str, Any]:
        """Lets the pod of a Job or RayJob be created."""
        labels = body["metadata"]["labels"]
        name = body["metadata"]["name"]
        container = "ray-worker" if body["kind"] == "RayJob" else labels.get(PART_LABEL, "main")
        pod = {
            "kind": "Pod",
            "metadata": {
                "name": f"{name}-pod",
                "labels": dict(labels),
                "creationTimestamp": format_time(self.now),
                "uid": f"pod-{body['metadata']['uid']}",
            },
            "spec": {"containers": [{"name": container, "resources": {"limits": {"memory": "4Gi"}}}]},
            "status": {
                "phase": "Pending",
                "containerStatuses": [{"name": container, "image": "anneal/runtime:1", "state": {}}],
            },
        }
        self.pods.append(pod)
        begun = {"startTime": self.node_time}
        if body["kind"] == "RayJob":
            begun["jobDeploymentStatus"] = "Initializing"
        body["status"] = {**body.get("status", {}), **begun}
        return pod

    def run(self, body: dict[str, Any]) -> None:
        """Lets a Job or RayJob run and report."""
        for pod in self.pods_of(body):
            pod["status"] |= {"phase": "Running", "conditions": []}
            running = {"running": {"startedAt": self.node_time}}
            pod["status"]["containerStatuses"][0]["state"] = running
        if body["kind"] == "RayJob":
            body["status"] |= {"jobDeploymentStatus": "Running", "jobStatus": "RUNNING"}
        self.report(body, "Running")

    def _finish(self, body: dict[str, Any]) -> None:
        labels = body["metadata"]["labels"]
        part = labels[PART_LABEL]
        if part == "parity":
            self.end(body, good=int(labels[VERSION_LABEL]) not in self.bad_versions)
            return
        if part == "finish":
            self.report(body, "Succeeded", published=published(self._publish(labels)))
        elif part in PARTS:
            self.report(body, "Succeeded")
        self.end(body, good=True)

    def _publish(self, labels: Mapping[str, str]) -> int:
        """Publishes a version, or finds that the newest one is the same."""
        manifest = self.objects["ConfigMap", generation_name(self.name, int(labels[GENERATION_LABEL]))]
        content = content_of(json.loads(manifest["data"]["job.json"])["spec"])
        if not self.stored or self.stored[-1] != content:
            self.stored.append(content)
        return len(self.stored)

    def end(self, body: dict[str, Any], *, good: bool) -> None:
        """Lets a Job or RayJob come to its end."""
        now = self.node_time
        status = body.setdefault("status", {})
        if body["kind"] == "RayJob":
            words = ("Complete", "SUCCEEDED") if good else ("Failed", "FAILED")
            status |= {"jobDeploymentStatus": words[0], "jobStatus": words[1], "endTime": now}
        else:
            kind = "Complete" if good else "Failed"
            status["conditions"] = [{"type": kind, "status": "True", "lastTransitionTime": now}]
            status |= {"completionTime": now} if good else {}
        for pod in self.pods_of(body):
            if pod["status"]["phase"] != "Failed":
                pod["status"]["phase"] = "Succeeded" if good else "Failed"

    def report(self, body: Mapping[str, Any], state: str, /, **more: Any) -> None:
        """Lets the part that an object runs report."""
        labels = body["metadata"]["labels"]
        if labels.get(PART_LABEL) not in PARTS:
            return
        generation, attempt = int(labels[GENERATION_LABEL]), int(labels[ATTEMPT_LABEL])
        board = self.objects.get(("ConfigMap", attempt_name(self.name, generation, attempt)))
        if board is None:
            return
        part = labels[PART_LABEL]
        document = {
            "jobUid": "uid1",
            "generation": generation,
            "attempt": attempt,
            "part": part,
            "state": state,
            "heartbeat": self.node_time,
            **more,
        }
        board["data"] = {**board.get("data", {}), f"{part}.json": json.dumps(document)}

    def _serve(self, body: dict[str, Any]) -> None:
        version = int(body["metadata"]["labels"][VERSION_LABEL])
        ready = version not in self.unready_versions
        body["status"] = {
            "observedGeneration": body["metadata"]["generation"],
            "numServeEndpoints": 1 if ready else 0,
            "conditions": [{"type": "Ready", "status": "True" if ready else "False"}],
        }

    def _end_pods(self, body: Mapping[str, Any]) -> None:
        for pod in self.pods_of(body):
            pod["metadata"]["deletionTimestamp"] = format_time(self.now + timedelta(seconds=30))

    def pods_of(self, body: Mapping[str, Any]) -> list[dict[str, Any]]:
        """Returns the pods of a Job or RayJob."""
        return [pod for pod in self.pods if pod["metadata"]["uid"] == f"pod-{body['metadata']['uid']}"]

    def active_parts_bodies(self) -> list[dict[str, Any]]:
        """Returns the Jobs and RayJobs of parts that work."""
        return [
            body
            for (kind, _), body in sorted(self.objects.items())
            if kind in {"Job", "RayJob"}
            and body["metadata"]["labels"].get(PART_LABEL) in PARTS
            and not has_ended(body)
        ]

    def active_parts(self) -> list[str]:
        """Returns the names of the Jobs and RayJobs of parts that work."""
        return [body["metadata"]["name"] for body in self.active_parts_bodies()]

    def names(self, *kinds: str) -> list[str]:
        """Returns the names of the children of some kinds."""
        return [name for kind, name in sorted(self.objects) if kind in kinds]
