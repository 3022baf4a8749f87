"""The operator against a real API server, from inside a test: its parts one by one, or a whole life of it."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Coroutine
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from random import Random
from typing import Any

from cluster.apiserver import ApiServer
from crd_cases import good_manifest
from tiny_plan import tiny_plan

from anneal_api.crd import custom_resource_definition
from anneal_operator.cluster.audit import CacheAudit
from anneal_operator.cluster.cache import Cache, JobKey
from anneal_operator.cluster.client import Client
from anneal_operator.cluster.clock import SystemClock
from anneal_operator.cluster.credentials import Credentials, from_kubeconfig
from anneal_operator.cluster.kinds import FINE_TUNE_JOB, WATCHED
from anneal_operator.cluster.queue import WorkQueue
from anneal_operator.cluster.retries import Backoff
from anneal_operator.controller.event_recorder import EventRecorder
from anneal_operator.controller.job_view import Observer
from anneal_operator.controller.manager import Manager
from anneal_operator.controller.metrics import Metrics
from anneal_operator.controller.probes import Probes
from anneal_operator.controller.reconcile import Reconciler, Result
from anneal_operator.controller.settings_from_env import ProcessSettings
from anneal_operator.controller.warning_events import WarningEvents
from anneal_operator.plan.actions import Plan
from anneal_operator.plan.observed import Object, Observed
from anneal_operator.settings import Settings

IMAGE = "anneal:test"
_SECONDS = 120.0  # Kubernetes' garbage collector looks for new kinds every half minute
_AGENT = "anneal-operator"
_INSTALLED: set[tuple[str, str]] = set()

Planner = Callable[[Observed], Plan]


def install_crd(server: ApiServer, crd: dict[str, Any] | None = None) -> None:
    """Applies a CRD, by default the FineTuneJob's, and waits until the server serves it."""
    crd = crd or custom_resource_definition()
    name = crd["metadata"]["name"]
    if (server.url, name) in _INSTALLED:
        return
    path = f"/apis/apiextensions.k8s.io/v1/customresourcedefinitions/{name}"
    query = "?fieldManager=test&force=true"
    status, answer = server.request("PATCH", path + query, crd, media_type="application/apply-patch+yaml")
    assert status in {200, 201}, answer
    spec = crd["spec"]
    for version in spec["versions"]:
        root = f"/apis/{spec['group']}/{version['name']}"
        # The server serves a new kind somewhat earlier than it tells of it.
        wait_until(lambda root=root: spec["names"]["kind"] in _kinds(server, root))  # type: ignore[misc]
        wait_until(lambda root=root: server.request("GET", f"{root}/{spec['names']['plural']}")[0] == 200)  # type: ignore[misc]
    _INSTALLED.add((server.url, name))


def _kinds(server: ApiServer, root: str) -> set[str]:
    status, answer = server.request("GET", root)
    return {resource["kind"] for resource in answer["resources"]} if status == 200 else set()


def remove_crd(server: ApiServer, name: str) -> None:
    """Deletes a CRD and waits until the server forgets it."""
    path = f"/apis/apiextensions.k8s.io/v1/customresourcedefinitions/{name}"
    _INSTALLED.discard((server.url, name))
    server.request("DELETE", path)
    deadline = time.monotonic() + _SECONDS
    while server.request("GET", path)[0] != 404:
        assert time.monotonic() < deadline
        time.sleep(0.1)


def credentials_of(server: ApiServer) -> Credentials:
    """Returns the credentials of a server's administrator."""
    return from_kubeconfig(server.kubeconfig)


def writes(server: ApiServer, namespace: str, *, agent: str = _AGENT) -> list[tuple[str, str, str]]:
    """Returns verb, resource and name of every write of the operator in a namespace; of its Lease none."""
    found = []
    for event in server.audited_writes():
        about = event.get("objectRef", {})
        if (
            event.get("userAgent") == agent
            and about.get("namespace") == namespace
            and about["resource"] != "leases"
        ):
            resource = "/".join(part for part in (about["resource"], about.get("subresource")) if part)
            found.append((event["verb"], resource, about.get("name", "")))
    return found


def run_in_loop(scenario: Coroutine[Any, Any, None]) -> None:
    """Runs a scenario in an event loop of its own, which ends when connections have said farewell."""

    async def main() -> None:
        try:
            await scenario
        finally:
            await asyncio.sleep(0.25)  # TLS takes a round trip for it, which nobody waits for

    asyncio.run(main())


async def until(what: Callable[[], bool | Awaitable[bool]], seconds: float = _SECONDS) -> None:
    """Waits until something is so."""
    deadline = time.monotonic() + seconds
    while True:
        now = what()
        if now if isinstance(now, bool) else await now:
            return
        assert time.monotonic() < deadline, "it did not come about"
        await asyncio.sleep(0.05)


def wait_until(what: Callable[[], bool], seconds: float = _SECONDS) -> None:
    """Waits until something is so, outside of any event loop."""
    deadline = time.monotonic() + seconds
    while not what():
        assert time.monotonic() < deadline, "it did not come about"
        time.sleep(0.1)


@dataclass
class Jobs:
    """FineTuneJobs and what belongs to them, as a user sees them.

    Attributes:
        server: The API server.
        namespace: Namespace of the test.
    """

    server: ApiServer
    namespace: str

    def path(self, name: str = "") -> str:
        return FINE_TUNE_JOB.path(self.namespace, name)

    def create(self, name: str = "reviews", **metadata: Any) -> dict[str, Any]:
        body = good_manifest(name)
        body["metadata"] |= {"namespace": self.namespace, **metadata}
        status, answer = self.server.request("POST", self.path(), body)
        assert status == 201, answer
        assert isinstance(answer, dict)
        return answer

    def edit(self, change: dict[str, Any], name: str = "reviews") -> dict[str, Any]:
        status, answer = self.server.request(
            "PATCH", self.path(name), change, media_type="application/merge-patch+json"
        )
        assert status == 200, answer
        assert isinstance(answer, dict)
        return answer

    def delete(self, name: str = "reviews") -> None:
        status, answer = self.server.request("DELETE", self.path(name))
        assert status == 200, answer

    def get(self, name: str = "reviews") -> dict[str, Any] | None:
        status, answer = self.server.request("GET", self.path(name))
        return answer if status == 200 else None

    def status(self, name: str = "reviews") -> dict[str, Any]:
        found = self.get(name)
        return (found or {}).get("status") or {}

    def at(self, path: str, method: str = "GET", body: Any = None, **options: Any) -> Any:
        """Sends a request about an object of the namespace, such as `configmaps/a` or `batch/v1/jobs/a`."""
        resource, *rest = path.split("/")
        group = f"/apis/{resource}/{rest.pop(0)}" if rest and rest[0].startswith("v") else "/api/v1"
        place = "/".join(rest) if group != "/api/v1" else path
        return self.server.request(method, f"{group}/namespaces/{self.namespace}/{place}", body, **options)

    def children(self) -> dict[str, dict[str, Any]]:
        """Returns the ConfigMaps and Jobs of the namespace by `kind/name`."""
        found = {}
        for kind, path in (("ConfigMap", "configmaps"), ("Job", "batch/v1/jobs")):
            for item in self.at(path)[1]["items"]:
                if item["metadata"]["name"] != "kube-root-ca.crt":
                    version = "v1" if kind == "ConfigMap" else "batch/v1"
                    found[f"{kind}/{item['metadata']['name']}"] = {
                        "apiVersion": version,
                        "kind": kind,
                        **item,
                    }
        return found

    def events(self) -> list[dict[str, Any]]:
        """Returns the Events of the namespace."""
        items = self.at("events.k8s.io/v1/events")[1]["items"]
        assert isinstance(items, list)
        return items

    def complete(self, name: str) -> None:
        """Lets a batch/v1 Job succeed, as Kubernetes' Job controller would say it."""
        at = "2026-01-01T00:00:01Z"
        ended = [
            {"type": kind, "status": "True", "lastTransitionTime": at, "lastProbeTime": at}
            for kind in ("SuccessCriteriaMet", "Complete")
        ]
        status = {
            "startTime": "2026-01-01T00:00:00Z",
            "completionTime": at,
            "succeeded": 1,
            "ready": 0,
            "conditions": ended,
            "uncountedTerminatedPods": {},
        }
        code, answer = self.at(
            f"batch/v1/jobs/{name}/status",
            "PATCH",
            {"status": status},
            media_type="application/merge-patch+json",
        )
        assert code == 200, answer


@dataclass
class Parts:
    """The operator without watches and workers: a test looks at jobs itself.

    Attributes:
        client: The API server.
        cache: The cache.
        queue: The work queue.
        reconciler: The reconcile loop's body.
        namespace: Namespace of the test.
        retried: Results that were counted as failures.
    """

    client: Client
    cache: Cache
    queue: WorkQueue[JobKey]
    reconciler: Reconciler
    audit: CacheAudit
    namespace: str
    retried: list[str] = field(default_factory=list)

    async def read(self) -> None:
        """Reads what is there, as at the operator's start."""
        served = await self.client.served(FINE_TUNE_JOB)
        assert FINE_TUNE_JOB.kind in served
        await self.audit.fill(kind for kind in WATCHED if not kind.optional)

    async def look(self, name: str = "reviews") -> Result:
        """Looks at a job once, as a worker does that takes it from the queue."""
        key, others = JobKey(self.namespace, name), []
        self.queue.add(key)
        while (work := await self.queue.take()) is not None and work.key != key:
            others.append(work.key)
        for other in others:
            self.queue.done(other)
            self.queue.add(other)
        try:
            return await self.reconciler.reconcile(key)
        finally:
            self.queue.done(key)

    async def rest(self, name: str = "reviews", looks: int = 12) -> list[Result]:
        """Looks at a job until nothing changes, and returns what came of each look."""
        results = []
        for _ in range(looks):
            results.append(await self.look(name))
            if results[-1] is Result.STEADY:
                return results
        raise AssertionError(f"no rest: {results}")

    def hear(self, body: Object) -> None:
        """Takes note of an object as a watch would."""
        self.cache.put(body)


@asynccontextmanager
async def operator_parts(
    server: ApiServer,
    namespace: str,
    *,
    plan: Planner = tiny_plan,
    kuberay: bool = False,
    fill: bool = True,
) -> AsyncIterator[Parts]:
    """Gives the operator's parts to a test, with the cache filled."""
    clock, random = SystemClock(), Random(1)
    client = Client(credentials_of(server), clock=clock, random=random)
    cache = Cache()
    queue = WorkQueue[JobKey](clock=clock, random=random, backoff=Backoff(1.0, 60.0))
    settings = Settings(image=IMAGE, namespaces=(namespace,))
    observer = Observer(
        client, cache, WarningEvents(client, clock), clock=clock, settings=settings, kuberay=lambda: kuberay
    )
    retried: list[str] = []
    reconciler = Reconciler(
        client,
        cache,
        queue,
        observer,
        EventRecorder(client, clock, "test"),
        plan=plan,
        clock=clock,
        retried=retried.append,
    )
    audit = CacheAudit(
        client,
        cache,
        namespaces=(namespace,),
        clock=clock,
        random=random,
        changed=lambda _: None,
        lost=lambda _: None,
    )
    parts = Parts(client, cache, queue, reconciler, audit, namespace, retried)
    try:
        if fill:
            await parts.read()
        yield parts
    finally:
        await client.close()


@dataclass
class Life:
    """A whole operator, in the test's event loop.

    Attributes:
        manager: The operator.
        metrics: Its metrics.
        probes: Its probes.
        stop: Ends it.
        task: What runs.
    """

    manager: Manager
    metrics: Metrics
    probes: Probes
    stop: asyncio.Event
    task: asyncio.Task[None]

    async def ready(self) -> None:
        """Waits until it is ready."""
        await until(lambda: self.task.done() or not self.probes.ready())
        if self.task.done():
            self.task.result()

    async def end(self) -> None:
        """Ends it in order."""
        self.stop.set()
        await self.task


def live(
    server: ApiServer, namespaces: tuple[str, ...], *, plan: Planner = tiny_plan, **process: Any
) -> Life:
    """Begins a life of the operator."""
    settings = Settings(image=IMAGE, namespaces=namespaces)
    return begun(credentials_of(server), settings, ProcessSettings(**process), plan=plan)


def begun(credentials: Credentials, settings: Settings, process: ProcessSettings, *, plan: Planner) -> Life:
    """Begins a life of the operator with given credentials and settings."""
    metrics, probes, stop = Metrics("test"), Probes(), asyncio.Event()
    manager = Manager(
        credentials,
        settings,
        process,
        plan=plan,
        metrics=metrics,
        probes=probes,
        clock=SystemClock(),
        random=Random(),
        stop=stop,
        heed_signals=lambda: None,
    )
    return Life(manager, metrics, probes, stop, asyncio.create_task(manager.run()))
