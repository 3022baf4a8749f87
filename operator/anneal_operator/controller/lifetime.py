"""One life of the operator: get the Lease, read what is there, then watch, reconcile, renew and audit until it ends."""

from __future__ import annotations

import asyncio
import logging
import socket
import uuid
from collections.abc import Callable, Coroutine
from contextlib import AsyncExitStack
from enum import Enum
from random import Random
from typing import Any

from anneal_api.identity import KIND
from anneal_operator.cluster.audit import CacheAudit
from anneal_operator.cluster.cache import Cache, JobKey
from anneal_operator.cluster.client import Client
from anneal_operator.cluster.clock import Clock, ServerClock
from anneal_operator.cluster.credentials import Credentials
from anneal_operator.cluster.errors import ApiError
from anneal_operator.cluster.kinds import FINE_TUNE_JOB, LEASE, RAY_JOB, RAY_SERVICE, WATCHED, Kind
from anneal_operator.cluster.lease import Lease
from anneal_operator.cluster.packed import controller_of, version_of
from anneal_operator.cluster.queue import WorkQueue
from anneal_operator.cluster.retries import Backoff
from anneal_operator.cluster.served_status import ServedStatus
from anneal_operator.controller.announcements import Announcer
from anneal_operator.controller.canary import Canary
from anneal_operator.controller.logs import about
from anneal_operator.controller.metrics import Metrics
from anneal_operator.controller.observation import Observer
from anneal_operator.controller.probes import Probes
from anneal_operator.controller.reconcile import Reconciler
from anneal_operator.controller.settings_from_env import ProcessSettings
from anneal_operator.controller.warning_events import WarningEvents
from anneal_operator.controller.watches import Watches
from anneal_operator.plan.actions import Plan
from anneal_operator.plan.observed import Object, Observed
from anneal_operator.settings import Settings

_LOG = logging.getLogger(__name__)

_KEY_BACKOFF = Backoff(first=1.0, longest=300.0)
_START_BACKOFF = Backoff(first=1.0, longest=10.0)
_KINDS_SECONDS = 60.0
_POLLS_PER_SCHEMA = 5  # a schema is some hundred kilobytes
_MOST_LACKING = 5
_DRAIN_SECONDS = 20.0
_STOP_SECONDS = 10.0
_LEASE_TIMEOUT = 4.0
_STUCK_SECONDS = 600.0
_WATCHES_GRACE_SECONDS = 60.0
_CANARY_SILENT_SECONDS = 300.0
_OUT_OF_REACH_SECONDS = 900.0


class Ending(Enum):
    """Why a life ended."""

    TOLD = "told to stop"
    KINDS_CHANGED = "the cluster has learned or forgotten a kind; starting again to watch the right ones"
    OUT_OF_REACH = "the API server is long out of reach; starting again with the credentials of now"


class Lifetime:
    """One life of the operator.

    Args:
        credentials: Whom it speaks to and as whom.
        settings: The operator's settings.
        process: The process's settings.
        plan: Decides.
        metrics: Its metrics.
        probes: Its probes.
        clock: Time.
        random: Chance.
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
        self._queue = WorkQueue[JobKey](clock=clock, random=random, backoff=_KEY_BACKOFF)
        self._canary = Canary(clock)
        self._served_status = ServedStatus()
        self._lacking: tuple[str, ...] = ()
        self._kinds: tuple[Kind, ...] = ()
        self._filled = False

    async def run(self) -> Ending:
        """Lives.

        Raises:
            LeaseLost: Another operator holds the Lease.
            Exception: A watch ended by an error that only a new start can mend.
        """
        async with AsyncExitStack() as stack:
            lease = self._lease(stack)
            client = self._client(stack, fence=lease.fence)
            self._expose(lease)
            stack.callback(self._probes.clear)
            await self._or_stop(lease.acquire())
            if not lease.held:
                return Ending.TOLD
            stack.push_async_callback(lease.release)
            renewing = asyncio.create_task(lease.keep(self._stop), name="lease")
            stack.push_async_callback(_ended, renewing)
            audit = self._audit(client)
            if not await self._fill(client, audit, renewing):
                return Ending.TOLD
            return await self._work(client, audit, lease, renewing)

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
        pod = self._process.pod_uid
        return Lease(
            client,
            namespace=self._lease_namespace,
            name=self._process.lease_name,
            identity=f"{pod or socket.gethostname()}_{uuid.uuid4()}",
            clock=self._clock,
            random=self._random,
            renewed=lambda body, sent_at: self._canary.sent(version_of(body), sent_at),
            predecessor=f"{pod}_" if pod else "",
        )

    @property
    def _lease_namespace(self) -> str:
        """Where the Lease lies: where two operators of the same jobs meet, and where it is watched."""
        own, watched = self._credentials.namespace or "default", self._settings.namespaces
        return self._process.lease_namespace or (own if not watched or own in watched else watched[0])

    def _audit(self, client: Client) -> CacheAudit:
        return CacheAudit(
            client,
            self._cache,
            namespaces=self._settings.namespaces,
            clock=self._clock,
            random=self._random,
            changed=self._enqueue,
            lost=self._metrics.lost,
        )

    async def _fill(self, client: Client, audit: CacheAudit, renewing: asyncio.Task[None]) -> bool:
        """Finds out what there is and reads it; returns whether that was done before the end."""
        failures = 0
        while not self._stop.is_set():
            if renewing.done():
                renewing.result()
            try:
                kinds = await self._served(client)
                if FINE_TUNE_JOB in kinds:
                    await self._learn_status(client)
                    await audit.fill(kinds)
                    self._kinds = kinds
                    self._filled = True
                    return True
                what = f"the cluster does not know {FINE_TUNE_JOB.kind}s; install the CRD"
            except ApiError as error:
                what = str(error)
            failures += 1
            _LOG.warning("cannot start yet: %s", what)
            await self._clock.wait(self._stop, _START_BACKOFF.delay(failures, self._random))
        return False

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

    async def _served(self, client: Client) -> tuple[Kind, ...]:
        """Returns what of the watched kinds the cluster knows."""
        by_root: dict[str, frozenset[str]] = {}
        for kind in WATCHED:
            if (kind.optional or kind is FINE_TUNE_JOB) and kind.root not in by_root:
                by_root[kind.root] = await client.served(kind)
        return tuple(k for k in WATCHED if k.root not in by_root or k.kind in by_root[k.root])

    async def _work(
        self, client: Client, audit: CacheAudit, lease: Lease, renewing: asyncio.Task[None]
    ) -> Ending:
        watches = self._watches()
        reconciler = self._reconciler(client)
        for job in self._cache.entries(FINE_TUNE_JOB.kind):
            self._queue.add(JobKey(job.namespace, job.name))
        workers = [
            asyncio.create_task(self._worker(reconciler), name=f"worker {number}")
            for number in range(self._process.workers)
        ]
        auditing = asyncio.create_task(audit.run(self._kinds, self._stop), name="audit")
        kinds = asyncio.create_task(self._until_kinds_change(client), name="kinds")
        reach = asyncio.create_task(self._until_out_of_reach(lease), name="reach")
        told = asyncio.create_task(self._stop.wait(), name="told")
        watches_stop = asyncio.Event()
        watching = asyncio.create_task(watches.run(watches_stop, self._heed_signals), name="watches")
        self._watch_over(lease, watches, workers)
        _LOG.info("watching %s", ", ".join(kind.kind for kind in self._kinds))
        try:
            running: list[asyncio.Task[object]] = [renewing, *workers, auditing, kinds, reach, watching, told]
            done, _ = await asyncio.wait(running, return_when=asyncio.FIRST_COMPLETED)
            for task in done:
                task.result()
            if self._stop.is_set():
                return Ending.TOLD
            endings = {kinds: Ending.KINDS_CHANGED, reach: Ending.OUT_OF_REACH}
            return next((ending for task, ending in endings.items() if task in done), Ending.TOLD)
        finally:
            self._queue.close()
            await asyncio.wait(workers, timeout=_DRAIN_SECONDS)
            watches_stop.set()
            for task in (*workers, auditing, kinds, reach, told):
                await _ended(task)
            await asyncio.wait([watching], timeout=_STOP_SECONDS)
            await _ended(watching)

    def _watches(self) -> Watches:
        return Watches(
            self._credentials,
            (*self._kinds, LEASE),
            fields={LEASE: f"metadata.name={self._process.lease_name}"},
            namespaces=self._settings.namespaces,
            heard=self._heard,
            clock=self._clock,
            random=self._random,
        )

    def _reconciler(self, client: Client) -> Reconciler:
        ray = {RAY_JOB, RAY_SERVICE} <= set(self._kinds)
        observer = Observer(
            client,
            self._cache,
            WarningEvents(client, self._clock),
            clock=self._clock,
            settings=self._settings,
            kuberay=lambda: ray,
        )
        return Reconciler(
            client,
            self._cache,
            self._queue,
            observer,
            Announcer(client, self._clock, socket.gethostname()),
            plan=self._plan,
            clock=self._clock,
            retried=self._metrics.retried,
            served_status=self._served_status,
        )

    async def _worker(self, reconciler: Reconciler) -> None:
        while (work := await self._queue.take()) is not None:
            began = self._clock.monotonic()
            try:
                with about(work.key):
                    result = await reconciler.reconcile(work.key)
            finally:
                self._queue.done(work.key)
            self._metrics.reconciled(result.value, self._clock.monotonic() - began, work.waited)

    async def _until_kinds_change(self, client: Client) -> None:
        """Ends when KubeRay was installed or removed."""
        polls = 0
        while not await self._clock.wait(self._stop, _KINDS_SECONDS * self._random.uniform(0.8, 1.2)):
            polls += 1
            try:
                if self._lacking or polls % _POLLS_PER_SCHEMA == 0:  # it may have been upgraded, or put back
                    await self._learn_status(client)
                if await self._served(client) != self._kinds:
                    _LOG.info("the cluster has learned or forgotten a kind")
                    return
            except ApiError as error:
                _LOG.warning("cannot see what the cluster knows: %s", error)

    async def _until_out_of_reach(self, lease: Lease) -> None:
        """Ends when nothing was to be had from the API server for so long that it may not be the server's fault."""
        held_at = self._clock.monotonic()
        while not await self._clock.wait(self._stop, _KINDS_SECONDS):
            if lease.held:
                held_at = self._clock.monotonic()
            elif self._clock.monotonic() - held_at > _OUT_OF_REACH_SECONDS:
                return

    def _heard(self, gone: bool, body: Object) -> None:
        """Takes note of an event of a watch."""
        if body["kind"] == LEASE.kind:
            if body["metadata"]["namespace"] == self._lease_namespace and not gone:
                self._canary.heard(version_of(body))
            return
        if self._cache.remove(body) if gone else self._cache.put(body):
            self._enqueue(body)

    def _enqueue(self, body: Object) -> None:
        """Puts the job that an object belongs to into the queue."""
        meta = body["metadata"]
        if body["kind"] == KIND:
            self._queue.add(JobKey(meta["namespace"], meta["name"]))
            return
        kind, owner, _ = controller_of(body)
        if kind == KIND:
            # By name, for an object of an earlier job of that name may be what a new one waits for.
            self._queue.add(JobKey(meta["namespace"], owner))
        elif (job := self._cache.job_of(body)) is not None:
            self._queue.add(job)

    def _expose(self, lease: Lease) -> None:
        metrics, queue = self._metrics, self._queue
        metrics.gauge("queue_depth", "Jobs ready to be looked at.", lambda: queue.depth)
        metrics.gauge("queue_delayed", "Jobs to be looked at later.", lambda: queue.delayed)
        metrics.gauge("queue_oldest_seconds", "How long a job lies ready.", lambda: queue.oldest_seconds)
        metrics.gauge("leader", "Whether this process holds the Lease.", lambda: lease.held)
        metrics.gauge(
            "watch_canary_delay_seconds",
            "From a write of the Lease to its event, or since the write where the event is still missing.",
            lambda: self._canary.delay,
        )
        metrics.count_jobs(self._cache)
        self._probes.must_be_ready("lease", lambda: "" if lease.held else "another operator holds the Lease")
        self._probes.must_be_ready(
            "cache", lambda: "" if self._filled else "what there is has not been read yet"
        )

    def _watch_over(self, lease: Lease, watches: Watches, workers: list[asyncio.Task[None]]) -> None:
        began = self._clock.monotonic()

        def stuck() -> str:
            seconds = self._queue.longest_work_seconds
            return f"a worker has looked at one job for {seconds:.0f} s" if seconds > _STUCK_SECONDS else ""

        def dead() -> str:
            return "a worker has ended" if any(worker.done() for worker in workers) else ""

        def deaf() -> str:
            if self._clock.monotonic() - began < _WATCHES_GRACE_SECONDS:
                return ""
            missing = watches.missing()
            return f"nobody watches {', '.join(missing)}" if missing else ""

        def silent() -> str:
            # While the API server is away nothing can be heard, and a restart would not bring it back.
            seconds = self._canary.delay if self._canary.was_heard and lease.held else 0.0
            return f"no event for {seconds:.0f} s" if seconds > _CANARY_SILENT_SECONDS else ""

        for check in (stuck, dead, deaf, silent):
            self._probes.must_live(check.__name__, check)

    async def _or_stop(self, wanted: Coroutine[object, object, None]) -> None:
        """Waits for something, but not beyond the end."""
        task, told = asyncio.create_task(wanted), asyncio.create_task(self._stop.wait())
        try:
            await asyncio.wait([task, told], return_when=asyncio.FIRST_COMPLETED)
            if task.done():
                task.result()
        finally:
            await _ended(told)
            await _ended(task)


async def _ended(task: asyncio.Task[Any]) -> None:
    """Cancels a task and waits for its end."""
    task.cancel()
    await asyncio.wait([task])
