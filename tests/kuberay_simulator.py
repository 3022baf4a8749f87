"""What moves a job's objects where no pod runs: KubeRay, Kubernetes' Job controller, and the pods that report.

It watches the Jobs, RayJobs and RayServices that the operator makes on a bare API server and takes each through the
states that the real ones go through (KubeRay 1.6.1: Initializing, Running, Complete; its finalizer on RayJobs; Ready
with serve endpoints), at a pace that a test chooses. `kuberay_contract` holds it and the real one to the same cases.
Pods are created from the very templates, so the API server holds those to its rules too; reports are written into the
attempt's ConfigMap as a pod would.
"""

from __future__ import annotations

import asyncio
import json
import logging
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import AbstractAsyncContextManager, asynccontextmanager, nullcontext, suppress
from dataclasses import dataclass, field
from typing import Any

import aiohttp
import simulated_reports
import yaml
from cluster.apiserver import ApiServer
from kuberay_source import kuberay_folder
from operator_world import install_crd
from simulated_reports import STAGES, SimulatedStore, now

from anneal_operator.cluster.credentials import from_kubeconfig
from anneal_operator.cluster.kinds import CONFIG_MAP, JOB, OURS, POD, RAY_JOB, RAY_SERVICE, Kind
from anneal_operator.cluster.sessions import session
from anneal_operator.resources.names import (
    ATTEMPT_LABEL,
    GENERATION_LABEL,
    JOB_LABEL,
    PART_LABEL,
    UID_LABEL,
    VERSION_LABEL,
)

_LOG = logging.getLogger(__name__)

Body = Mapping[str, Any]

FINALIZER = "ray.io/rayjob-finalizer"
_MERGE = "application/merge-patch+json"


class GoneError(Exception):
    """What was being moved is deleted, or another object by now."""


def install_kuberay_crds(server: ApiServer) -> None:
    """Applies KubeRay's own CRDs; skips the test where its Go module is not in the module cache."""
    folder = kuberay_folder() / "config/crd/bases"
    for plural in ("rayclusters", "rayjobs", "rayservices"):
        text = (folder / f"ray.io_{plural}.yaml").read_text(encoding="utf-8")
        install_crd(server, yaml.load(text, Loader=getattr(yaml, "CSafeLoader", yaml.SafeLoader)))


@dataclass
class KubeRaySimulator:
    """Moves Jobs, RayJobs and RayServices.

    Attributes:
        server: The API server.
        namespace: Where; empty: everywhere.
        pace: Seconds between two states.
        pods: Whether pods are created.
        requests: How many requests are under way at a time; 0: any number.
        fails: Tells, from the labels of a part, the reason that it fails with; None: it succeeds.
        bad_versions: Versions whose parity probe fails.
        unready_versions: Versions that never get ready.
        held: Parts that stay in their Running state until their event is set.
        played: Names of what was taken to its end, in order.
    """

    server: ApiServer
    namespace: str = ""
    pace: float = 0.02
    pods: bool = True
    requests: int = 0
    fails: Callable[[Mapping[str, str]], str | None] = lambda _: None
    bad_versions: set[int] = field(default_factory=set)
    unready_versions: set[int] = field(default_factory=set)
    held: dict[str, asyncio.Event] = field(default_factory=dict)
    played: list[str] = field(default_factory=list)

    def __post_init__(self) -> None:
        self._store = SimulatedStore()
        self._playing: dict[str, asyncio.Task[None]] = {}
        self._served: dict[str, int] = {}
        self._session: aiohttp.ClientSession
        slots = asyncio.Semaphore(self.requests) if self.requests else nullcontext()
        self._slots: AbstractAsyncContextManager[object] = slots

    @asynccontextmanager
    async def running(self) -> AsyncIterator[KubeRaySimulator]:
        """Works while the block runs. What went wrong in it is raised at the end."""
        self._session = session(from_kubeconfig(self.server.kubeconfig))
        self._session.headers["User-Agent"] = "simulator"
        watches = [asyncio.create_task(self._watch(kind)) for kind in (JOB, RAY_JOB, RAY_SERVICE)]
        try:
            yield self
        finally:
            tasks = [*watches, *self._playing.values()]
            for task in tasks:
                task.cancel()
            results = await asyncio.gather(*tasks, return_exceptions=True)
            await self._let_all_go()
            await self._session.close()
        for result in results:
            if isinstance(result, Exception):
                raise result

    # how it hears of objects

    async def _watch(self, kind: Kind) -> None:
        path = kind.path(self.namespace)
        _, answer = await self._ask("GET", f"{path}?labelSelector={OURS}")
        for item in answer["items"]:
            self._hear(kind, item)
        version = answer["metadata"]["resourceVersion"]
        while True:
            query = f"?labelSelector={OURS}&watch=true&resourceVersion={version}&allowWatchBookmarks=true"
            async with self._session.get(
                self.server.url + path + query, timeout=aiohttp.ClientTimeout(total=None), read_bufsize=2**22
            ) as stream:
                async for line in stream.content:
                    event = json.loads(line)
                    assert event["type"] != "ERROR", event
                    version = event["object"]["metadata"]["resourceVersion"]
                    if event["type"] in {"ADDED", "MODIFIED"}:
                        self._hear(kind, event["object"])

    def _hear(self, kind: Kind, body: Body) -> None:
        uid = body["metadata"]["uid"]
        leaving = "deletionTimestamp" in body["metadata"]
        if kind is RAY_JOB and leaving:
            self._begin(f"{uid} leaves", self._let_go(body))
        elif leaving:
            return
        elif kind is RAY_SERVICE:
            generation = body["metadata"]["generation"]
            if self._served.get(uid) != generation:
                self._served[uid] = generation
                self._begin(f"{uid} {generation}", self._serve(body))
        elif kind is RAY_JOB and (body["spec"] or {}).get("suspend"):
            self._begin(f"{uid} waits", self._suspend(body))
        else:
            self._begin(uid, self._play(kind, body))

    def _begin(self, key: str, work: Any) -> None:
        if key in self._playing:
            work.close()
            return
        task = self._playing[key] = asyncio.create_task(work)
        task.add_done_callback(_tell)

    # what it does with them

    async def _play(self, kind: Kind, body: Body) -> None:
        try:
            await self._take_to_its_end(kind, body)
        except GoneError:
            return
        self.played.append(body["metadata"]["name"])

    async def _take_to_its_end(self, kind: Kind, body: Body) -> None:
        labels = body["metadata"]["labels"]
        part = labels.get(PART_LABEL, "")
        await self._begin_run(kind, body)
        if part in self.held:
            await self.held[part].wait()
        reason = self.fails(labels) if part in STAGES else None
        good = reason is None
        if part in STAGES:
            for report in simulated_reports.ways(labels):
                await self._report(body, report)
                await self._pause()
            result = await self._publish(body) if good and part == "finish" else None
            await self._report(body, simulated_reports.end(labels, reason, result))
        elif part == "parity":
            good = int(labels[VERSION_LABEL]) not in self.bad_versions
        await self._pause()
        await self._end_run(kind, body, good=good)

    async def _suspend(self, body: Body) -> None:
        with suppress(GoneError):
            await self._status(RAY_JOB, body, {"jobDeploymentStatus": "Suspended"})

    async def _begin_run(self, kind: Kind, body: Body) -> None:
        name = body["metadata"]["name"]
        if kind is RAY_JOB:
            await self._patch(kind, body, {"metadata": {"finalizers": [FINALIZER]}})
            begun = {
                "jobDeploymentStatus": "Initializing",
                "jobId": f"{name}-sim",
                "rayClusterName": f"{name}-sim",
                "startTime": now(),
            }
            await self._status(kind, body, begun)
            group = body["spec"]["rayClusterSpec"]
            templates = {"head": group["headGroupSpec"]["template"]}
            templates |= {g["groupName"]: g["template"] for g in group.get("workerGroupSpecs") or ()}
        else:
            await self._status(kind, body, {"startTime": now(), "active": 1, "ready": 0})
            templates = {"pod": body["spec"]["template"]}
        await self._pause()
        if self.pods:
            for suffix, template in templates.items():
                await self._run_pod(kind, body, suffix, template)
        if kind is RAY_JOB:
            driver = {"startTime": now()}
            running = {"jobDeploymentStatus": "Running", "jobStatus": "RUNNING", "rayJobInfo": driver}
            await self._status(kind, body, running)
        else:
            await self._status(kind, body, {"ready": 1})
        await self._pause()

    async def _run_pod(self, kind: Kind, owner: Body, suffix: str, template: Body) -> None:
        meta = owner["metadata"]
        reference = {
            "apiVersion": kind.api_version,
            "kind": kind.kind,
            "name": meta["name"],
            "uid": meta["uid"],
            "controller": True,
        }
        labels = {
            **(template.get("metadata") or {}).get("labels", {}),
            "app.kubernetes.io/managed-by": "anneal-operator",
        }
        pod = {
            "apiVersion": "v1",
            "kind": "Pod",
            "metadata": {
                "name": f"{meta['name']}-{suffix}",
                "namespace": meta["namespace"],
                "labels": labels,
                "ownerReferences": [reference],
            },
            "spec": template["spec"],
        }
        status, answer = await self._ask("POST", POD.path(meta["namespace"]), pod)
        assert status in {201, 409}, answer
        if status == 409:
            return
        containers = [
            {
                "name": container["name"],
                "image": container["image"],
                "imageID": "",
                "ready": True,
                "restartCount": 0,
                "started": True,
                "state": {"running": {"startedAt": now()}},
            }
            for container in template["spec"]["containers"]
        ]
        running = {"phase": "Running", "startTime": now(), "containerStatuses": containers}
        await self._status(POD, answer, running)

    async def _end_run(self, kind: Kind, body: Body, *, good: bool) -> None:
        if kind is RAY_JOB:
            words = ("Complete", "SUCCEEDED") if good else ("Failed", "FAILED")
            ended: dict[str, Any] = {
                "jobDeploymentStatus": words[0],
                "jobStatus": words[1],
                "endTime": now(),
            }
            if not good:
                ended |= {"reason": "AppFailed", "message": "the driver ended with an error"}
        else:
            before, last = ("SuccessCriteriaMet", "Complete") if good else ("FailureTarget", "Failed")
            conditions = [
                {
                    "type": each,
                    "status": "True",
                    "lastTransitionTime": now(),
                    "lastProbeTime": now(),
                    "reason": "Simulated",
                    "message": "",
                }
                for each in (before, last)
            ]
            ended = {"conditions": conditions, "active": 0, "ready": 0, "uncountedTerminatedPods": {}}
            ended |= {"succeeded": 1, "completionTime": now()} if good else {"failed": 1}
        if self.pods:
            await self._end_pods(body, good=good)
        await self._status(kind, body, ended)

    async def _end_pods(self, body: Body, *, good: bool) -> None:
        meta = body["metadata"]
        mine = f"labelSelector={UID_LABEL}={meta['labels'][UID_LABEL]}"
        _, found = await self._ask("GET", f"{POD.path(meta['namespace'])}?{mine}")
        for pod in found["items"]:
            owners = pod["metadata"].get("ownerReferences") or ()
            if any(owner["uid"] == meta["uid"] for owner in owners):
                await self._status(POD, pod, {"phase": "Succeeded" if good else "Failed"})

    async def _serve(self, body: Body) -> None:
        with suppress(GoneError):
            await self._let_answer(body)

    async def _let_answer(self, body: Body) -> None:
        meta = body["metadata"]
        version = int(meta["labels"][VERSION_LABEL])
        seen = {"observedGeneration": meta["generation"]}
        cluster = {"rayClusterName": f"{meta['name']}-sim"}
        if version in self.unready_versions:
            waits = [_condition("Ready", "False", "Initializing", meta["generation"])]
            await self._status(
                RAY_SERVICE, body, {**seen, "conditions": waits, "pendingServiceStatus": cluster}
            )
            return
        await self._pause()
        ready = [
            _condition("Ready", "True", "NonZeroServeEndpoints", meta["generation"]),
            _condition("UpgradeInProgress", "False", "NoPendingCluster", meta["generation"]),
        ]
        answers = {"numServeEndpoints": 1, "serviceStatus": "Running", "activeServiceStatus": cluster}
        await self._status(
            RAY_SERVICE, body, {**seen, **answers, "conditions": ready, "pendingServiceStatus": {}}
        )
        self.played.append(meta["name"])

    async def _let_all_go(self) -> None:
        """Takes its finalizers away, which nobody else would: they hold namespaces and CRDs."""
        _, answer = await self._ask("GET", f"{RAY_JOB.path(self.namespace)}?labelSelector={OURS}")
        for item in answer["items"]:
            if FINALIZER in item["metadata"].get("finalizers", ()):
                await self._let_go(item)

    async def _let_go(self, body: Body) -> None:
        with suppress(GoneError):
            await self._patch(RAY_JOB, body, {"metadata": {"finalizers": None}})

    async def _report(self, body: Body, report: Body) -> None:
        labels = body["metadata"]["labels"]
        board = f"{labels[JOB_LABEL]}-g{labels[GENERATION_LABEL]}-a{labels[ATTEMPT_LABEL]}"
        path = CONFIG_MAP.path(body["metadata"]["namespace"], board)
        await self._change(path, {"data": {f"{labels[PART_LABEL]}.json": json.dumps(report)}})

    async def _publish(self, body: Body) -> dict[str, Any]:
        labels, namespace = body["metadata"]["labels"], body["metadata"]["namespace"]
        name = f"{labels[JOB_LABEL]}-g{labels[GENERATION_LABEL]}"
        status, manifest = await self._ask("GET", CONFIG_MAP.path(namespace, name))
        if status != 200:
            raise GoneError(name)
        return self._store.publish(labels, namespace, json.loads(manifest["data"]["job.json"])["spec"])

    # how it speaks to the server

    async def _status(self, kind: Kind, body: Body, status: Mapping[str, Any]) -> None:
        meta = body["metadata"]
        path = kind.path(meta["namespace"], meta["name"], "status")
        await self._change(path, {"metadata": {"uid": meta["uid"]}, "status": status})

    async def _patch(self, kind: Kind, body: Body, change: Body) -> None:
        await self._change(kind.path(body["metadata"]["namespace"], body["metadata"]["name"]), change)

    async def _change(self, path: str, change: Body) -> None:
        code, answer = await self._ask("PATCH", path, change, _MERGE)
        if code in {404, 409}:
            raise GoneError(path)
        assert code == 200, answer

    async def _ask(
        self, method: str, path: str, body: Any = None, media_type: str = "application/json"
    ) -> tuple[int, Any]:
        data = None if body is None else json.dumps(body).encode()
        headers = {} if data is None else {"Content-Type": media_type}
        async with (
            self._slots,
            self._session.request(method, self.server.url + path, data=data, headers=headers) as answer,
        ):
            return answer.status, await answer.json()

    async def _pause(self) -> None:
        await asyncio.sleep(self.pace)


def _tell(task: asyncio.Task[None]) -> None:
    # Raised at the end too, but the test may fail before that, and this is why.
    if not task.cancelled() and task.exception() is not None:
        _LOG.error("the simulator is at fault", exc_info=task.exception())


def _condition(kind: str, status: str, reason: str, generation: int) -> dict[str, Any]:
    return {
        "type": kind,
        "status": status,
        "reason": reason,
        "message": "",
        "lastTransitionTime": now(),
        "observedGeneration": generation,
    }
