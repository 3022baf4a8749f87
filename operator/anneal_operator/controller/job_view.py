"""Takes stock of one job: the cache, a live look where the cache shows nothing, and Events where something waits."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field, replace

from anneal_api.attempt import Part
from anneal_operator.cluster.cache import Cache
from anneal_operator.cluster.client import Client
from anneal_operator.cluster.clock import Clock
from anneal_operator.cluster.errors import NotFound
from anneal_operator.cluster.kinds import (
    FINE_TUNE_JOB,
    JOB,
    POD,
    RAY_JOB,
    RAY_SERVICE,
    SERVICE,
    Kind,
    kind_named,
)
from anneal_operator.cluster.packed import controller_of, job_uid
from anneal_operator.controller.refusals import Refusal
from anneal_operator.controller.warning_events import WarningEvents, subjects_of
from anneal_operator.plan.confirmation import ref_of
from anneal_operator.plan.liveness import Timers, facts
from anneal_operator.plan.observations import has_driver
from anneal_operator.plan.observed import Object, Observed
from anneal_operator.resources.names import is_name_of, part_name
from anneal_operator.settings import Settings

ObjectRef = tuple[str, str]
"""Kind and name of an object in the job's namespace."""

_PATIENCE_SECONDS = 5.0  # nothing is worth an explanation sooner
_LONGEST_PAUSE_SECONDS = 60.0
_LEFTOVER_PATIENCE_SECONDS = 60.0  # Kubernetes collects within half a minute
_MAKERS_OF_PODS = frozenset({JOB.kind, "RayCluster", RAY_JOB.kind, RAY_SERVICE.kind})
_UNSETTLED_RAY_JOB = frozenset({"", "Initializing", "Waiting", "Retrying"})


@dataclass(slots=True)
class ReconcileState:
    """What is worth remembering of a job from one look to the next. Losing it costs a few calls, and some patience.

    Attributes:
        uid: UID of the job.
        foreign: Objects of others that hold a name that the job needs.
        leftover_since: Since when objects of an earlier job of this name are in the way.
        waiting_since: Since when something of the job waits.
        restless: Looks in a row that each changed something.
        refusal: What the API server refused last, and why.
        timers: Since when things are as they are.
    """

    uid: str
    foreign: set[ObjectRef] = field(default_factory=set)
    leftover_since: float | None = None
    waiting_since: float | None = None
    restless: int = 0
    refusal: Refusal | None = None
    timers: Timers = field(default_factory=Timers)


class Leftover(Exception):
    """An object of an earlier job of the same name is still there; Kubernetes is about to collect it."""


class JobView:
    """What is seen of a job during one look at it.

    Args:
        job: The job.
        state: What is remembered of it.
        children: Its children, as the cache has them.
        pods: Its pods.
        client: The API server.
        cache: The cache, which learns what is found.
        patient: Whether objects of an earlier job may still be about to go. Later they count as somebody else's.
    """

    def __init__(
        self,
        job: Object,
        state: ReconcileState,
        *,
        children: Iterable[Object],
        pods: tuple[Object, ...],
        client: Client,
        cache: Cache,
        patient: bool,
    ) -> None:
        self.job = job
        self.state = state
        self._pods = {ref_of(pod): pod for pod in pods if _is_below(job, pod)}
        self.warnings: tuple[Object, ...] = ()
        self.children: dict[ObjectRef, Object] = {
            ref_of(child): child for child in children if _is_child(job, child)
        }
        self.live: set[ObjectRef] = set()
        self._absent: set[ObjectRef] = set()
        self._client = client
        self._cache = cache
        self._patient = patient

    @property
    def pods(self) -> tuple[Object, ...]:
        """The job's pods, in a fixed order."""
        return tuple(self._pods[place] for place in sorted(self._pods))

    def is_unseen(self, place: ObjectRef) -> bool:
        """Returns whether the cache shows nothing there and nobody has looked yet."""
        return place not in self.children and place not in self._absent and place not in self.state.foreign

    async def get_live(self, places: Iterable[ObjectRef]) -> bool:
        """Looks live at places, and returns whether anything was there.

        Raises:
            Leftover: It belongs to an earlier job of this name.
            ApiError: The API server did not answer.
        """
        found = await asyncio.gather(*(self._get_live(place) for place in places))
        return any(found)

    async def _get_live(self, place: ObjectRef) -> bool:
        kind, name = place
        self.live.add(place)
        try:
            body = await self._client.get(kind_named(kind), self.job["metadata"]["namespace"], name)
        except NotFound:
            self._lose(place)
            return False
        if kind == POD.kind:
            self._cache.put(body)
            if _is_below(self.job, body):
                self._pods[place] = body
        else:
            self.record(body)
        return True

    def _lose(self, place: ObjectRef) -> None:
        """Takes note that nothing is there, whatever the cache has heard last."""
        self.state.foreign.discard(place)
        gone = self._pods.pop(place, None) or self.children.get(place)
        if gone is not None:
            self._cache.drop(place[0], gone["metadata"]["uid"])
        self.forget(place)

    def record(self, body: Object) -> None:
        """Takes note of an object that was found or written.

        Raises:
            Leftover: It belongs to an earlier job of this name.
        """
        place = ref_of(body)
        if place[0] == SERVICE.kind:
            self._record_service(place, body)
            return
        if job_uid(body) == self.state.uid and _is_child(self.job, body):
            self.state.foreign.discard(place)
            self.children[place] = body
            self._cache.put(body)
            return
        kind, owner, _ = controller_of(body)
        earlier = kind == FINE_TUNE_JOB.kind and owner == self.job["metadata"]["name"]
        # What has been waited for long enough once is not waited for again at every look.
        if earlier and self._patient and place not in self.state.foreign:
            raise Leftover(f"{place[0]} {place[1]} belongs to an earlier job of this name")
        self.children.pop(place, None)
        self.state.foreign.add(place)

    def _record_service(self, place: ObjectRef, body: Object) -> None:
        """Takes note of a Service, which is never the job's own: KubeRay makes it for the RayService of its name."""
        if controller_of(body)[:2] == (RAY_SERVICE.kind, place[1]):
            self.state.foreign.discard(place)
        else:
            self.state.foreign.add(place)

    def forget(self, place: ObjectRef) -> None:
        """Takes note that an object is gone."""
        self.children.pop(place, None)
        self._absent.add(place)


class Observer:
    """Takes stock.

    Args:
        client: The API server.
        cache: The cache.
        events: Warning Events.
        clock: Time.
        settings: The operator's settings.
        kuberay: Tells whether the cluster knows RayJob and RayService.
    """

    def __init__(
        self,
        client: Client,
        cache: Cache,
        events: WarningEvents,
        *,
        clock: Clock,
        settings: Settings,
        kuberay: Callable[[], bool],
    ) -> None:
        self._client = client
        self._cache = cache
        self._events = events
        self._clock = clock
        self._settings = settings
        self._kuberay = kuberay

    async def observe(self, job: Object, state: ReconcileState) -> JobView:
        """Takes stock of a job.

        Raises:
            Leftover: An object of an earlier job of this name is in the way.
            ApiError: The API server did not answer.
        """
        namespace, uid = job["metadata"]["namespace"], job["metadata"]["uid"]
        view = JobView(
            job,
            state,
            children=self._cache.children(namespace, uid),
            pods=self._cache.pods(namespace, uid),
            client=self._client,
            cache=self._cache,
            patient=self._is_patient(state),
        )
        # A run that is on record but not in the cache may be missing because of a lost event; and a name that somebody
        # else held may be free by now.
        doubtful = {place for place in (self._run_of(job),) if place is not None and view.is_unseen(place)}
        await view.get_live(sorted(doubtful | state.foreign))
        if await self._waits(view):
            subjects = subjects_of([*view.children.values(), *view.pods])
            view.warnings = await self._events.about(job["metadata"]["namespace"], subjects)
        return view

    def observed(self, view: JobView) -> Observed:
        """Returns the snapshot that the plan is made from."""
        found = Observed(
            job=view.job,
            children=tuple(view.children[place] for place in sorted(view.children)),
            pods=view.pods,
            warnings=view.warnings,
            foreign=frozenset(f"{kind}/{name}" for kind, name in view.state.foreign),
            kuberay=self._kuberay(),
            now=self._clock.now(),
            settings=self._settings,
            confirmed=frozenset(view.live),
        )
        return replace(found, lasting=view.state.timers.update(facts(found), self._clock.monotonic()))

    def requeue_after_seconds(self, state: ReconcileState) -> float | None:
        """Returns when a waiting job is to be looked at again, for nobody tells of Events; None: nothing waits."""
        if state.waiting_since is None:
            return None
        waited = self._clock.monotonic() - state.waiting_since
        return min(max(waited, _PATIENCE_SECONDS), _LONGEST_PAUSE_SECONDS)

    def _is_patient(self, state: ReconcileState) -> bool:
        since = state.leftover_since
        return since is None or self._clock.monotonic() - since < _LEFTOVER_PATIENCE_SECONDS

    async def _waits(self, view: JobView) -> bool:
        bodies = [*view.children.values(), *view.pods]
        if not any(is_waiting(body) for body in bodies):
            view.state.waiting_since = None
            return False
        if view.state.waiting_since is None:
            view.state.waiting_since = self._clock.monotonic()
        return self._clock.monotonic() - view.state.waiting_since >= _PATIENCE_SECONDS

    def _run_of(self, job: Object) -> ObjectRef | None:
        """Returns what runs the part that is under way, by the status; None where none is."""
        status = job.get("status") or {}
        run = status.get("run")
        conditions = {c["type"]: c["status"] for c in status.get("conditions") or ()}
        # Of jobs at rest there may be thousands, and nobody acts on what they lack.
        at_rest = conditions.get("Progressing", "True") == "False"
        if not run or at_rest or "deletionTimestamp" in job["metadata"]:
            return None
        part = Part(run["part"])
        kind: Kind = RAY_JOB if part is Part.TRAIN else JOB
        if kind is RAY_JOB and not self._kuberay():
            return None
        return kind.kind, part_name(job["metadata"]["name"], run["generation"], run["attempt"], part)


def _is_child(job: Object, body: Object) -> bool:
    """Whether an object is the job's own: by its owner, or, where somebody took that, by its labels and its name."""
    meta = body["metadata"]
    return controller_of(body)[2] == job["metadata"]["uid"] or is_name_of(
        job["metadata"]["name"], meta["name"]
    )


def _is_below(job: Object, pod: Object) -> bool:
    """Whether a pod was made for one of the job's objects. Anybody can copy labels, and would hold up the job."""
    kind, owner, _ = controller_of(pod)
    return kind in _MAKERS_OF_PODS and is_name_of(job["metadata"]["name"], owner)


def is_waiting(body: Object) -> bool:
    """Returns whether an object waits for something that Events may explain."""
    status = body.get("status") or {}
    conditions = {c.get("type"): c.get("status") for c in status.get("conditions") or ()}
    suspended = (body.get("spec") or {}).get("suspend")
    match body["kind"]:
        case POD.kind:
            return bool(status.get("phase", "Pending") == "Pending")
        case JOB.kind:
            ended = "True" in {conditions.get("Complete"), conditions.get("Failed")}
            return not suspended and not ended and not status.get("ready")
        case RAY_JOB.kind:
            # KubeRay says Running as soon as the Job that submits the driver exists, whether or not it gets a pod.
            state = status.get("jobDeploymentStatus", "")
            unsettled = not has_driver(body) if state == "Running" else state in _UNSETTLED_RAY_JOB
            return not suspended and unsettled
        case RAY_SERVICE.kind:
            return conditions.get("Ready") != "True"
    return False
