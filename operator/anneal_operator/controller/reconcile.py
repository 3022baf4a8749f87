"""Looks at one job, plans, and carries the plan out: the status first, then the actions in order.

The plan is a function of what is there, so it does not matter how often or why a job is looked at, and dying between
any two calls loses nothing: the next look plans the rest. What this module adds is care. It acts on an absence only
after a live look; it touches no object that is not the job's; it writes what was thought out for a version of the job
onto that version only.
"""

from __future__ import annotations

import logging
import math
from collections.abc import Callable
from enum import StrEnum

from anneal_api.status import FineTuneJobStatus
from anneal_operator.cluster.cache import Cache, JobKey
from anneal_operator.cluster.client import Client
from anneal_operator.cluster.clock import Clock
from anneal_operator.cluster.errors import (
    AlreadyExists,
    ApiError,
    Conflict,
    Fenced,
    Invalid,
    NamespaceTerminating,
    NotFound,
    Refused,
    Transient,
)
from anneal_operator.cluster.kinds import FINE_TUNE_JOB, RAY_SERVICE, SERVICE, kind_named
from anneal_operator.cluster.packed import version_of
from anneal_operator.cluster.queue import WorkQueue
from anneal_operator.cluster.served_status import ServedStatus
from anneal_operator.controller.adoption import claim_children
from anneal_operator.controller.event_recorder import EventRecorder
from anneal_operator.controller.job_view import JobView, Leftover, ObjectRef, Observer, ReconcileState
from anneal_operator.controller.refusals import Refusal, diagnosis_of, is_webhook_down, with_refusal
from anneal_operator.controller.status_document import document_of
from anneal_operator.plan.actions import Action, Apply, Create, Delete, Plan, SetFinalizer
from anneal_operator.plan.confirmation import ref_of
from anneal_operator.plan.observed import Object, Observed
from anneal_operator.resources.names import FINALIZER

_LOG = logging.getLogger(__name__)

_LOOKS = 4
_RESTLESS = 8
_RESTLESS_PAUSE = 2.0
_CONFLICT_PAUSE = 0.2
_OUTAGE_PAUSE = 30.0
_LEFTOVER_PAUSE = 2.0
_TERMINATING_PAUSE = 30.0
_REFUSED_PAUSE = 5.0
_FOREIGN_PAUSE = 15.0
_WEBHOOK_FAILURES = 3  # a webhook's pod that is replaced is no news


class Result(StrEnum):
    """What came of a look at a job."""

    GONE = "gone"
    STEADY = "steady"
    CHANGED = "changed"
    CONFLICT = "conflict"
    REFUSED = "refused"
    LEFTOVER = "leftover"
    TERMINATING = "terminating"
    ERROR = "error"
    BUG = "bug"


class Reconciler:
    """Makes a job's objects and status be as the plan says.

    Args:
        client: The API server.
        cache: The cache.
        queue: Where a job is put that has to be looked at again.
        observer: Takes stock.
        recorder: Posts Events.
        plan: Decides. Pure.
        clock: Time.
        retried: Told why a job has to be looked at again after a failure.
        served_status: What of a status the CRD in the cluster takes; None: all.
    """

    def __init__(
        self,
        client: Client,
        cache: Cache,
        queue: WorkQueue[JobKey],
        observer: Observer,
        recorder: EventRecorder,
        *,
        plan: Callable[[Observed], Plan],
        clock: Clock,
        retried: Callable[[str], None],
        served_status: ServedStatus | None = None,
    ) -> None:
        self._client = client
        self._cache = cache
        self._queue = queue
        self._observer = observer
        self._recorder = recorder
        self._plan = plan
        self._clock = clock
        self._retried = retried
        self._served_status = served_status or ServedStatus()
        self._states: dict[JobKey, ReconcileState] = {}

    async def reconcile(self, key: JobKey) -> Result:
        """Looks at a job once, and puts it back into the queue for when it has to be looked at again.

        Nothing is raised: whatever goes wrong with one job is logged, counted and tried again later.
        """
        try:
            result = await self._look_and_act(key)
        except Conflict as error:
            # Whoever changed it told the watch too; the pause lets that arrive.
            _LOG.info("changed meanwhile, looking again: %s", error)
            self._queue.add_after(key, _CONFLICT_PAUSE)
            return self._counted(Result.CONFLICT)
        except Leftover as leftover:
            return self._wait_for_leftover(key, leftover)
        except NamespaceTerminating:
            self._queue.add_after(key, _TERMINATING_PAUSE)
            return self._counted(Result.TERMINATING)
        except ApiError as error:
            # An outage is no fault of the job's: when it is over, nothing should lie waiting for minutes.
            passing = isinstance(error, Transient | Fenced)
            delay = self._queue.retry(
                key, at_least=error.retry_after or 0.0, at_most=_OUTAGE_PAUSE if passing else math.inf
            )
            _LOG.warning("failed, trying again in %.1f s: %s", delay, error)
            return self._counted(Result.ERROR)
        except Exception:  # noqa: BLE001  # a bug in the plan of one job must not stop the others
            delay = self._queue.retry(key)
            _LOG.exception("a bug in the operator; trying again in %.1f s", delay)
            return self._counted(Result.BUG)
        if result in {Result.STEADY, Result.CHANGED, Result.GONE}:
            self._queue.forget_failures(key)
        return result

    async def _look_and_act(self, key: JobKey) -> Result:
        job = self._cache.job(key)
        if job is None:
            self._states.pop(key, None)
            return Result.GONE
        state = self._state(key, job["metadata"]["uid"])
        view = await self._observer.observe(job, state)
        changed = await claim_children(self._client, view)
        plan = await self._planned(view)
        changed |= await claim_children(self._client, view)  # those too that only a live look has shown
        if plan.status is not None:
            changed |= await self._write_status(view, plan.status)
        try:
            acted, refusal = await self._carry_out(key, view, plan)
            state.leftover_since = None
        finally:
            # The transitions are on record, so this is the only time that anybody tells of them.
            for event in plan.events:
                await self._recorder.record(view.job, event)
        known, state.refusal = state.refusal, refusal
        if refusal is not None:
            self._try_again(key, refusal, known)
            return self._counted(Result.REFUSED)
        # A refusal that is over must leave the status too.
        changed |= acted or known is not None
        self._requeue(key, state, plan, changed=changed)
        return Result.CHANGED if changed else Result.STEADY

    async def _carry_out(self, key: JobKey, view: JobView, plan: Plan) -> tuple[bool, Refusal | None]:
        """Acts until something is refused, and returns whether anything changed, and the refusal."""
        changed = False
        foreign = set(view.state.foreign)
        for action in plan.actions:
            try:
                changed |= await self._act(view, action)
            except NamespaceTerminating:
                meta = view.job["metadata"]
                if "deletionTimestamp" not in meta or FINALIZER not in (meta.get("finalizers") or ()):
                    raise
                # No clean-up can start any more, and the namespace would wait for it for ever.
                _LOG.warning("the namespace is being deleted too: what lies in the job's store stays there")
                return await self._set_finalizer(view, present=False), None
            except ApiError as error:
                lasts = is_webhook_down(error) and self._queue.failures(key) >= _WEBHOOK_FAILURES
                if not isinstance(error, Refused) and not lasts:
                    raise
                return changed, Refusal(_subject(action), error)
            if view.state.foreign - foreign:
                # What comes next was planned without knowing of it: no pod runs under somebody else's account.
                return True, None
        return changed, None

    def _try_again(self, key: JobKey, refusal: Refusal, known: Refusal | None) -> None:
        if not refusal.resembles(known):
            _LOG.warning("the API server refuses %s %s: %s", *refusal.place, refusal.error)
            self._queue.add(key)  # the status does not tell of it yet
        else:
            passing = isinstance(refusal.error, Transient)
            self._queue.retry(key, at_least=_REFUSED_PAUSE, at_most=_OUTAGE_PAUSE if passing else math.inf)

    def _state(self, key: JobKey, uid: str) -> ReconcileState:
        state = self._states.get(key)
        if state is None or state.uid != uid:
            # A job that was created again under the same name starts anew.
            state = self._states[key] = ReconcileState(uid)
            self._queue.forget_failures(key)
        return state

    async def _planned(self, view: JobView) -> Plan:
        """Plans, and plans anew as long as a live look shows what the cache did not."""
        plan = await self._decided(view)
        for _ in range(_LOOKS):
            wanted = [ref_of(action.body) for action in plan.actions if isinstance(action, Apply)]
            unseen = [place for place in dict.fromkeys(wanted) if view.is_unseen(place)]
            if not unseen or not await view.get_live(unseen):
                break
            plan = await self._decided(view)
        return plan

    async def _decided(self, view: JobView) -> Plan:
        """Plans, and looks live at whatever a verdict of the plan rests on."""
        while True:
            plan = self._plan(self._observer.observed(view))
            if not plan.confirm:
                return plan
            unseen = sorted(set(plan.confirm) - view.live)
            assert unseen, f"the plan asks again for what was looked at: {plan.confirm}"
            await view.get_live(unseen)

    async def _write_status(self, view: JobView, status: FineTuneJobStatus) -> bool:
        if view.state.refusal is not None:
            status = with_refusal(status, diagnosis_of(view.state.refusal))
        wanted = self._served_status.fitted(document_of(status))
        if wanted == (view.job.get("status") or {}):
            return False
        try:
            written = await self._client.apply_status(FINE_TUNE_JOB, view.job, wanted)
        except NotFound as error:
            self._cache.drop(FINE_TUNE_JOB.kind, view.state.uid)
            raise Conflict("the job is gone", request=error.request) from error
        except Conflict:
            await self._refresh(view.job)
            raise
        except Invalid as error:
            # The schema of the status is ours as well, so this is no matter of the user's.
            raise AssertionError(f"the CRD does not take the operator's status: {error}") from error
        return self._take_job(view, written)

    async def _refresh(self, job: Object) -> None:
        meta = job["metadata"]
        try:
            now = await self._client.get(FINE_TUNE_JOB, meta["namespace"], meta["name"])
        except NotFound:
            self._cache.drop(FINE_TUNE_JOB.kind, meta["uid"])
            return
        self._cache.put(now)

    def _take_job(self, view: JobView, now: Object) -> bool:
        changed = version_of(now) != version_of(view.job)
        self._cache.put(now)
        view.job = now
        return changed

    async def _act(self, view: JobView, action: Action) -> bool:
        """Carries an action out, and returns whether it changed anything."""
        match action:
            case Create(body=body):
                return await self._create(view, body)
            case Apply(body=body):
                return await self._apply(view, body)
            case Delete():
                return await self._delete(view, action)
            case SetFinalizer(present=present):
                return await self._set_finalizer(view, present=present)

    async def _create(self, view: JobView, body: Object) -> bool:
        place = ref_of(body)
        if place in view.state.foreign:
            return False  # the plan knows, and says so
        try:
            view.record(await self._client.create(kind_named(place[0]), body))
            _LOG.info("created %s %s", *place)
        except AlreadyExists:
            # Ours, made before we were killed or before its event arrived: then this is success. Or somebody else's:
            # then the next plan says so. Or it is gone again: then the next plan makes it.
            await view.get_live([place])
        return True

    async def _apply(self, view: JobView, body: Object) -> bool:
        place = ref_of(body)
        if place in view.state.foreign:
            return False
        before = view.children.get(place)
        if before is None and place[0] == RAY_SERVICE.kind and await self._is_service_taken(view, body):
            return False  # the next plan says so
        now = await self._client.apply(kind_named(place[0]), body)
        view.record(now)
        changed = before is None or version_of(before) != version_of(now)
        if changed:
            _LOG.info("applied %s %s", *place)
        return changed

    async def _is_service_taken(self, view: JobView, body: Object) -> bool:
        """Returns whether a Service that KubeRay would overwrite is somebody else's: it does not ask whose it is."""
        place = SERVICE.kind, body["spec"]["serveService"]["metadata"]["name"]
        await view.get_live([place])
        return place in view.state.foreign

    async def _delete(self, view: JobView, action: Delete) -> bool:
        place = (action.kind, action.name)
        seen = view.children.get(place)
        if seen is not None and "deletionTimestamp" in seen["metadata"]:
            return False  # it is on its way; its finalizers hold it
        try:
            namespace = view.job["metadata"]["namespace"]
            await self._client.delete(kind_named(action.kind), namespace, action.name, uid=action.uid)
            _LOG.info("deleted %s %s", *place)
        except NotFound:
            self._cache.drop(action.kind, action.uid)
            view.forget(place)
        except Conflict:
            _LOG.info("%s %s is another object by now; left alone", *place)
        return False  # its end, which an event tells of, is what changes something

    async def _set_finalizer(self, view: JobView, *, present: bool) -> bool:
        there = list(view.job["metadata"].get("finalizers") or ())
        if (FINALIZER in there) == present:
            return False
        wanted = [*there, FINALIZER] if present else [name for name in there if name != FINALIZER]
        try:
            now = await self._client.set_finalizers(FINE_TUNE_JOB, view.job, wanted)
        except NotFound:
            self._cache.drop(FINE_TUNE_JOB.kind, view.state.uid)
            return True
        except Conflict:
            await self._refresh(view.job)
            raise
        return self._take_job(view, now)

    def _wait_for_leftover(self, key: JobKey, leftover: Leftover) -> Result:
        state = self._states[key]
        if state.leftover_since is None:
            state.leftover_since = self._clock.monotonic()
            _LOG.info("waiting: %s", leftover)
        self._queue.add_after(key, _LEFTOVER_PAUSE)
        return self._counted(Result.LEFTOVER)

    def _requeue(self, key: JobKey, state: ReconcileState, plan: Plan, *, changed: bool) -> None:
        state.restless = state.restless + 1 if changed else 0
        if changed:
            # Our own writes come back as no news, so what follows from them is planned now.
            if state.restless > _RESTLESS:
                _LOG.warning("the job does not come to rest: %d changing looks in a row", state.restless)
                self._queue.add_after(key, _RESTLESS_PAUSE * (state.restless - _RESTLESS))
            else:
                # Before the others, while what was read and checked for this job is still at hand.
                self._queue.add(key, first=True)
        pauses = [plan.requeue_after, self._observer.requeue_after_seconds(state)]
        if state.foreign:
            pauses.append(_FOREIGN_PAUSE)  # nobody tells when it goes
        for pause in pauses:
            if pause is not None:
                self._queue.add_after(key, pause)

    def _counted(self, result: Result) -> Result:
        self._retried(result.value)
        return result


def _subject(action: Action) -> ObjectRef:
    match action:
        case Create(body=body) | Apply(body=body):
            return ref_of(body)
        case Delete(kind=kind, name=name):
            return kind, name
        case SetFinalizer():
            return FINE_TUNE_JOB.kind, "itself"
