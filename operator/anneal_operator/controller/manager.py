"""The operator's process, from its first list to its last write.

It reads what there is and watches it from the start, and reconciles while it holds the Lease: a second replica stands
by with everything read. Whatever only a new start can mend ends the process, and Kubernetes starts it again.
"""

from __future__ import annotations

import asyncio
import logging
import socket
import uuid
from collections.abc import Callable
from contextlib import AsyncExitStack
from random import Random
from typing import Any

from anneal_operator.cluster.audit import CacheAudit
from anneal_operator.cluster.cache import Cache, JobKey
from anneal_operator.cluster.client import Client
from anneal_operator.cluster.clock import Clock, ServerClock
from anneal_operator.cluster.credentials import Credentials
from anneal_operator.cluster.errors import ApiError
from anneal_operator.cluster.kinds import FINE_TUNE_JOB, RAY_JOB, RAY_SERVICE, WATCHED, Kind
from anneal_operator.cluster.lease import Lease
from anneal_operator.cluster.queue import WorkQueue
from anneal_operator.cluster.retries import Backoff
from anneal_operator.cluster.served_status import ServedStatus
from anneal_operator.controller.event_recorder import EventRecorder
from anneal_operator.controller.event_routing import EventRouter
from anneal_operator.controller.job_view import Observer
from anneal_operator.controller.logs import about
from anneal_operator.controller.metrics import Metrics
from anneal_operator.controller.probes import Probes
from anneal_operator.controller.reconcile import Reconciler
from anneal_operator.controller.settings_from_env import ProcessSettings
from anneal_operator.controller.warning_events import WarningEvents
from anneal_operator.controller.watches import Watches
from anneal_operator.plan.actions import Plan
from anneal_operator.plan.observed import Observed
from anneal_operator.settings import Settings

_LOG = logging.getLogger(__name__)

_KEY_BACKOFF = Backoff(first=1.0, longest=300.0)
_START_BACKOFF = Backoff(first=1.0, longest=10.0)
_DISCOVERY_SECONDS = 60.0
_POLLS_PER_SCHEMA = 5  # a schema is some hundred kilobytes
_MOST_LACKING = 5
_DRAIN_SECONDS = 20.0
_STOP_SECONDS = 10.0
_LEASE_TIMEOUT = 4.0
_STUCK_SECONDS = 600.0
_OUT_OF_REACH_SECONDS = 900.0


class KindsChanged(Exception):
    """The cluster has learned or forgotten a kind: KubeRay was installed or removed."""


class OutOfReach(Exception):
    """Nothing was to be had from the API server for long."""


class Manager:
    """Runs the operator.

    Args:
        credentials: Whom it speaks to and as whom.
        settings: What jobs are made with.
        process: What concerns the process alone.
        plan: Decides what to do about a job.
        metrics: Counts; gets the gauges of what runs here.
        probes: Answers the kubelet; gets the checks of what runs here.
        clock: This machine's.
        random: Spreads waits.
        stop: Set when it is to end.
        heed_signals: Makes signals set `stop`; called when kopf has put its own handlers in their place.
    """

    def __init__(
        self,
        credentials: Credentials,
        settings: Settings,
        process: ProcessSettings,
        *,
        plan: Callable[[Observed], Plan],
        metrics: Metrics,
        probes: Probes,
        clock: Clock,
        random: Random,
        stop: asyncio.Event,
        heed_signals: Callable[[], None],
    ) -> None:
        self._credentials = credentials
        self._settings = settings
        self._process = process
        self._plan = plan
        self._metrics = metrics
        self._probes = probes
        self._clock = ServerClock(clock)
        self._random = random
        self._stop = stop
        self._heed_signals = heed_signals
        self._cache = Cache()
        self._queue = WorkQueue[JobKey](
            clock=clock, random=random, backoff=_KEY_BACKOFF, group=lambda key: key.namespace
        )
        self._router = EventRouter(self._cache, self._queue)
        self._served_status = ServedStatus()
        self._lacking: tuple[str, ...] = ()
        self._is_filled = False

    async def run(self) -> None:
        """Runs until it is told to stop.

        Raises:
            KindsChanged: The right kinds are watched only after a new start.
            LeaseLost: Another operator holds the Lease.
        OutOfReach: Another address or other certificates may help.
            Exception: A watch ended by an error that it cannot mend by itself.
        """
        async with AsyncExitStack() as stack:
            lease = self._lease(stack)
            client = self._client(stack, fence=lease.fence)
            self._expose(lease)
            audit = self._audit(client)
            kinds = await self._fill(client, audit)
            if kinds is None:
                return
            stop_watching = asyncio.Event()
            watching = asyncio.create_task(
                self._watches(kinds).run(stop_watching, self._heed_signals), name="watches"
            )
            background = [
                asyncio.create_task(self._stop.wait(), name="stop"),
                asyncio.create_task(self._until_kinds_change(client, kinds), name="discovery"),
                asyncio.create_task(audit.run(kinds, self._stop), name="audit"),
            ]
            _LOG.info("watching %s", ", ".join(kind.kind for kind in kinds))
            try:
                acquiring = asyncio.create_task(lease.acquire(), name="lease")
                await _first_of(watching, *background, acquiring)
                await _ended(acquiring)
                if lease.held:
                    stack.push_async_callback(lease.release)
                    await self._lead(client, lease, kinds, [watching, *background])
            finally:
                stop_watching.set()
                for task in background:
                    await _ended(task)
                await asyncio.wait([watching], timeout=_STOP_SECONDS)
                await _ended(watching)

    async def _lead(
        self, client: Client, lease: Lease, kinds: tuple[Kind, ...], background: list[asyncio.Task[Any]]
    ) -> None:
        """Reconciles as long as the Lease is held and all that it needs goes on."""
        reconciler = self._reconciler(client, kinds)
        for job in self._cache.entries(FINE_TUNE_JOB.kind):
            self._queue.add(JobKey(job.namespace, job.name))
        renewing = asyncio.create_task(lease.keep(self._stop), name="lease")
        workers = [
            asyncio.create_task(self._worker(reconciler), name=f"worker {number}")
            for number in range(self._process.workers)
        ]
        try:
            await _first_of(renewing, *workers, *background)
        finally:
            self._queue.close()
            await asyncio.wait(workers, timeout=_DRAIN_SECONDS)
            for task in (*workers, renewing):
                await _ended(task)

    async def _worker(self, reconciler: Reconciler) -> None:
        while (work := await self._queue.take()) is not None:
            began = self._clock.monotonic()
            try:
                with about(work.key):
                    result = await reconciler.reconcile(work.key)
            finally:
                self._queue.done(work.key)
            self._metrics.reconciled(result.value, self._clock.monotonic() - began, work.waited)

    async def _fill(self, client: Client, audit: CacheAudit) -> tuple[Kind, ...] | None:
        """Finds out what the cluster knows and reads it; returns the kinds, or None where it was told to stop."""
        failures = 0
        while not self._stop.is_set():
            try:
                kinds = await _served(client)
                if FINE_TUNE_JOB in kinds:
                    await self._learn_status(client)
                    await audit.fill(kinds)
                    self._is_filled = True
                    return kinds
                what = f"the cluster does not know {FINE_TUNE_JOB.kind}s; install the CRD"
            except ApiError as error:
                what = str(error)
            failures += 1
            _LOG.warning("cannot start yet: %s", what)
            await self._clock.wait(self._stop, _START_BACKOFF.delay(failures, self._random))
        return None

    async def _learn_status(self, client: Client) -> None:
        """Finds out what of a status the CRD takes, and says once if that is not all."""
        lacking = self._served_status.take(await client.status_schema(FINE_TUNE_JOB))
        if lacking and lacking != self._lacking:
            _LOG.warning(
                "the CRD of FineTuneJobs in the cluster is older than this operator: jobs run, but %s %s not written"
                " until it is upgraded (`helm upgrade` with crds.enabled, or `kubectl apply --server-side`)",
                ", ".join(lacking[:_MOST_LACKING]) + (", ..." if len(lacking) > _MOST_LACKING else ""),
                "is" if len(lacking) == 1 else "are",
            )
        self._lacking = lacking

    async def _until_kinds_change(self, client: Client, kinds: tuple[Kind, ...]) -> None:
        polls, reached = 0, self._clock.monotonic()
        while not await self._clock.wait(self._stop, _DISCOVERY_SECONDS * self._random.uniform(0.8, 1.2)):
            polls += 1
            try:
                if self._lacking or polls % _POLLS_PER_SCHEMA == 0:  # it may have been upgraded, or put back
                    await self._learn_status(client)
                if await _served(client) != kinds:
                    raise KindsChanged("the cluster has learned or forgotten a kind")
                reached = self._clock.monotonic()
            except ApiError as error:
                _LOG.warning("cannot see what the cluster knows: %s", error)
                if self._clock.monotonic() - reached > _OUT_OF_REACH_SECONDS:
                    # It may not be the server's fault: a new process reads address and certificates anew.
                    raise OutOfReach(f"the API server has been out of reach for long: {error}") from error

    def _client(self, stack: AsyncExitStack, *, fence: Callable[[], None]) -> Client:
        client = Client(
            self._credentials,
            clock=self._clock,
            random=self._random,
            fence=fence,
            observer=self._metrics.called,
            dated=self._clock.heard,
        )
        stack.push_async_callback(client.close)
        return client

    def _lease(self, stack: AsyncExitStack) -> Lease:
        # Quick to give up and not fenced by itself: its own retries are those of the Lease.
        client = Client(
            self._credentials,
            clock=self._clock,
            random=self._random,
            observer=self._metrics.called,
            dated=self._clock.heard,
            tries=1,
            timeout=_LEASE_TIMEOUT,
        )
        stack.push_async_callback(client.close)
        # Where two operators of the same jobs meet.
        own, watched = self._credentials.namespace or "default", self._settings.namespaces
        meeting = own if not watched or own in watched else watched[0]
        pod = self._process.pod_uid
        return Lease(
            client,
            namespace=self._process.lease_namespace or meeting,
            name=self._process.lease_name,
            identity=f"{pod or socket.gethostname()}_{uuid.uuid4()}",
            clock=self._clock,
            random=self._random,
            predecessor=f"{pod}_" if pod else "",
        )

    def _audit(self, client: Client) -> CacheAudit:
        return CacheAudit(
            client,
            self._cache,
            namespaces=self._settings.namespaces,
            clock=self._clock,
            random=self._random,
            changed=self._router.enqueue,
            lost=self._metrics.lost,
        )

    def _watches(self, kinds: tuple[Kind, ...]) -> Watches:
        return Watches(
            self._credentials,
            kinds,
            namespaces=self._settings.namespaces,
            heard=self._router.handle,
            clock=self._clock,
            random=self._random,
        )

    def _reconciler(self, client: Client, kinds: tuple[Kind, ...]) -> Reconciler:
        knows_ray = {RAY_JOB, RAY_SERVICE} <= set(kinds)
        observer = Observer(
            client,
            self._cache,
            WarningEvents(client, self._clock),
            clock=self._clock,
            settings=self._settings,
            kuberay=lambda: knows_ray,
        )
        return Reconciler(
            client,
            self._cache,
            self._queue,
            observer,
            EventRecorder(client, self._clock, socket.gethostname()),
            plan=self._plan,
            clock=self._clock,
            retried=self._metrics.retried,
            served_status=self._served_status,
        )

    def _expose(self, lease: Lease) -> None:
        queue = self._queue
        self._metrics.gauge("queue_depth", "Jobs ready to be looked at.", lambda: queue.depth)
        self._metrics.gauge("queue_delayed", "Jobs to be looked at later.", lambda: queue.delayed)
        self._metrics.gauge(
            "queue_oldest_seconds", "How long a job lies ready.", lambda: queue.oldest_seconds
        )
        self._metrics.gauge("leader", "Whether this process holds the Lease.", lambda: lease.held)
        self._metrics.count_jobs(self._cache)
        self._probes.must_be_ready(
            "cache", lambda: "" if self._is_filled else "what there is has not been read yet"
        )

        def stuck() -> str:
            seconds = queue.longest_work_seconds
            return f"a worker has looked at one job for {seconds:.0f} s" if seconds > _STUCK_SECONDS else ""

        self._probes.must_live("stuck", stuck)


async def _served(client: Client) -> tuple[Kind, ...]:
    """Returns what of the watched kinds the cluster knows."""
    by_root: dict[str, frozenset[str]] = {}
    for kind in WATCHED:
        if (kind.optional or kind is FINE_TUNE_JOB) and kind.root not in by_root:
            by_root[kind.root] = await client.served(kind)
    return tuple(k for k in WATCHED if k.root not in by_root or k.kind in by_root[k.root])


async def _first_of(*tasks: asyncio.Task[Any]) -> None:
    """Waits until one of several tasks has ended, and raises what it raised."""
    done, _ = await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
    for task in done:
        task.result()


async def _ended(task: asyncio.Task[Any]) -> None:
    """Cancels a task and waits for its end."""
    task.cancel()
    await asyncio.wait([task])
