"""kopf's part: it logs in, lists and watches, and hands every event over. Nothing else of kopf is used.

Its handlers for creation, update and deletion act on differences and keep their state in annotations; its indices,
timers and daemons cost a write or a wait per object. `on.event` alone costs neither.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Iterable, Iterator
from random import Random
from typing import cast

import kopf

from anneal_operator.cluster.clock import Clock
from anneal_operator.cluster.credentials import Credentials
from anneal_operator.cluster.kinds import Kind
from anneal_operator.cluster.retries import Backoff
from anneal_operator.cluster.sessions import session
from anneal_operator.controller.kopf_storages import NoDiffBase, NoMemories, NoProgress
from anneal_operator.plan.observed import Object

_LOG = logging.getLogger(__name__)

_BACKOFF = Backoff(first=1.0, longest=30.0)
_LOGIN_BACKOFF = Backoff(first=0.5, longest=30.0)
_LOGIN_CALM_SECONDS = 300.0
_PAGE = 500
_LONGEST_OUTAGE_SECONDS = 900.0


class OutageBackoff:
    """kopf's waits between tries: growing, spread by chance, and over after a quarter of an hour.

    A server that refuses for some minutes costs a pause and no restart: the watches go on where they were. A watch that
    is refused for longer, because a right is missing, ends the process; kopf itself bears lost connections for ever.

    Args:
        random: Chance.
    """

    def __init__(self, random: Random) -> None:
        self._random = random

    def __iter__(self) -> Iterator[float]:
        waited, failures = 0.0, 0
        while waited < _LONGEST_OUTAGE_SECONDS:
            failures += 1
            delay = _BACKOFF.delay(failures, self._random)
            waited += delay
            yield delay


class Watches:
    """Watches kinds of objects and hands over what happens to them.

    Args:
        credentials: Whom to ask and as whom.
        kinds: What to watch; each must be served.
        namespaces: Where; empty: everywhere.
        heard: Gets each event: whether the object is gone, and the object.
        clock: Time.
        random: Chance.
    """

    def __init__(
        self,
        credentials: Credentials,
        kinds: Iterable[Kind],
        *,
        namespaces: Iterable[str],
        heard: Callable[[bool, Object], None],
        clock: Clock,
        random: Random,
    ) -> None:
        self._credentials = credentials
        self._kinds = tuple(kinds)
        self._namespaces = tuple(namespaces)
        self._heard = heard
        self._clock = clock
        self._random = random
        self._logins = 0
        self._logged_in_at = 0.0

    async def run(self, stop: asyncio.Event, started: Callable[[], None]) -> None:
        """Watches until told to stop. It ends earlier only by an error that only a new start can mend.

        Args:
            stop: Set when it is to end.
            started: Called when kopf is set up. By then it has put its own handlers of signals in place.
        """
        # At its end kopf ends every task that was not there before it, so whatever must outlive it comes first.
        ours = asyncio.all_tasks()
        tasks = await kopf.spawn_tasks(
            registry=self._registry(),
            settings=self._settings(),
            clusterwide=not self._namespaces,
            namespaces=self._namespaces,
            stop_flag=stop,
            memories=NoMemories(),
        )
        started()
        await kopf.run_tasks(tasks, ignored=ours)

    def _registry(self) -> kopf.OperatorRegistry:
        registry = kopf.OperatorRegistry()

        @kopf.on.login(registry=registry)
        async def log_in(**_: object) -> kopf.AiohttpSession:
            return await self._log_in()

        async def hear(event: kopf.RawEvent, **_: object) -> None:
            self._heard(event["type"] == "DELETED", cast("Object", event["object"]))

        for kind in self._kinds:
            kopf.on.event(kind.group, kind.version, kind.plural, id=f"hear-{kind.plural}", registry=registry)(
                hear
            )
        return registry

    async def _log_in(self) -> kopf.AiohttpSession:
        # kopf logs in again at once when the server says 401, so a token that stays wrong would turn in a circle.
        now = self._clock.monotonic()
        self._logins = self._logins + 1 if now - self._logged_in_at < _LOGIN_CALM_SECONDS else 0
        if self._logins:
            _LOG.warning("the API server does not accept the token; logging in again")
            await self._clock.sleep(_LOGIN_BACKOFF.delay(self._logins, self._random))
        self._logged_in_at = self._clock.monotonic()
        return kopf.AiohttpSession(
            server=self._credentials.server,
            default_namespace=self._credentials.namespace or None,
            aiohttp_session=session(self._credentials),
        )

    def _settings(self) -> kopf.OperatorSettings:
        settings = kopf.OperatorSettings()
        # What kinds there are is found out by ourselves: kopf would need rights on all CRDs and namespaces for it.
        settings.scanning.disabled = True
        settings.peering.standalone = True
        settings.posting.enabled = False
        settings.watching.chunk_size = _PAGE
        settings.networking.request_timeout = 30.0
        settings.networking.connect_timeout = 5.0
        settings.networking.error_backoffs = OutageBackoff(self._random)
        settings.persistence.diffbase_storage = NoDiffBase()
        settings.persistence.progress_storage = NoProgress()
        settings.queueing.idle_timeout = 0.05  # a task with a queue, for each object that lately had an event
        settings.execution.max_workers = 1
        settings.process.ultimate_exiting_timeout = None
        for kind in self._kinds:
            key = (kind.group, kind.version, kind.plural)
            if kind.selector:
                settings.watching.label_selectors[key] = kind.selector
        return settings
