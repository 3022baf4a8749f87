"""The cache audit: what the watches may have missed, found by listing everything now and then.

A watch that loses an event leaves the cache wrong for ever, and nothing else would notice. So each kind is listed live
every few minutes and compared. A difference may also be an event that is still on its way, so it counts only if it is
still there some seconds later; then it is repaired and reported as a lost event.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Iterable
from random import Random

from anneal_operator.cluster.cache import Cache
from anneal_operator.cluster.client import Client
from anneal_operator.cluster.clock import Clock
from anneal_operator.cluster.errors import ApiError, NotFound
from anneal_operator.cluster.kinds import Kind
from anneal_operator.cluster.packed import version_of
from anneal_operator.plan.observed import Object

_LOG = logging.getLogger(__name__)

PERIOD_SECONDS = 420.0
"""Time from one audit to the next, give or take a third."""

FIRST_SECONDS = 30.0
"""The first audit comes early: it finds what changed between our own first list and the start of the watches."""

GRACE_SECONDS = 10.0
"""An event may be on its way for so long."""


class CacheAudit:
    """Compares the cache with the cluster.

    Args:
        client: The API server.
        cache: The cache.
        namespaces: Namespaces that are watched; empty: all.
        clock: Time.
        random: Chance, to spread audits.
        changed: Told of every object whose entry was repaired, as it is now or was last.
        lost: Told of the kind of every difference that was repaired.
    """

    def __init__(
        self,
        client: Client,
        cache: Cache,
        *,
        namespaces: Iterable[str],
        clock: Clock,
        random: Random,
        changed: Callable[[Object], None],
        lost: Callable[[str], None],
    ) -> None:
        self._client = client
        self._cache = cache
        self._namespaces = tuple(namespaces) or ("",)
        self._clock = clock
        self._random = random
        self._changed = changed
        self._lost = lost

    async def fill(self, kinds: Iterable[Kind]) -> None:
        """Reads everything into the cache: the first list, before anything is decided.

        Raises:
            ApiError: Something cannot be read.
        """
        for kind in kinds:
            for namespace in self._namespaces:
                async for body in self._client.objects(kind, namespace, labels=kind.selector):
                    self._cache.put(body)

    async def run(self, kinds: Iterable[Kind], stop: asyncio.Event) -> None:
        """Audits again and again until told to stop. A failed audit is logged; the next one comes."""
        kinds = tuple(kinds)
        pause = FIRST_SECONDS
        while not await self._clock.wait(stop, pause * self._random.uniform(0.67, 1.33)):
            pause = PERIOD_SECONDS
            for kind in kinds:
                try:
                    await self.audit(kind)
                except ApiError as error:
                    _LOG.warning("cannot audit the cache of %s: %s", kind.kind, error)

    async def audit(self, kind: Kind) -> int:
        """Compares the cache of one kind, repairs it, and returns how many events were lost.

        Raises:
            ApiError: The objects cannot be listed.
        """
        repaired = 0
        for namespace in self._namespaces:
            suspects = await self._suspects(kind, namespace)
            if suspects:
                await self._clock.sleep(GRACE_SECONDS)
                for uid, (namespace_, name, version) in suspects.items():
                    repaired += await self._repair(kind, namespace_, name, uid, version)
        return repaired

    async def _suspects(self, kind: Kind, namespace: str) -> dict[str, tuple[str, str, int | None]]:
        """Returns what differs: by UID namespace, name and listed version (None: it was not listed)."""
        # What the cache holds before the list begins must be in the list, or is gone.
        before = {entry.uid for entry in self._cache.entries(kind.kind) if namespace in {"", entry.namespace}}
        suspects: dict[str, tuple[str, str, int | None]] = {}
        async for body in self._client.objects(kind, namespace, labels=kind.selector):
            meta = body["metadata"]
            before.discard(meta["uid"])
            known = self._cache.entry(kind.kind, meta["uid"])
            if known is None or known.version < version_of(body):
                suspects[meta["uid"]] = meta["namespace"], meta["name"], version_of(body)
        for uid in before:
            if (known := self._cache.entry(kind.kind, uid)) is not None:
                suspects[uid] = known.namespace, known.name, None
        return suspects

    async def _repair(self, kind: Kind, namespace: str, name: str, uid: str, version: int | None) -> bool:
        known = self._cache.with_uid(kind.kind, uid)
        if version is None and known is None:
            return False  # its deletion arrived meanwhile
        if version is not None and known is not None and version_of(known) >= version:
            return False  # the event arrived meanwhile
        now = await self._live(kind, namespace, name, uid)
        if now is None:
            if known is None:
                return False  # it came and went
            repaired = self._cache.drop(kind.kind, uid)
        else:
            repaired = self._cache.put(now)
        if repaired:
            _LOG.warning("an event about %s %s/%s was lost; repaired", kind.kind, namespace, name)
            self._lost(kind.kind)
            changed = now if now is not None else known
            assert changed is not None
            self._changed(changed)
        return repaired

    async def _live(self, kind: Kind, namespace: str, name: str, uid: str) -> Object | None:
        """Returns the object as it is now, if it still concerns us."""
        try:
            now = await self._client.get(kind, namespace, name)
        except NotFound:
            return None
        return now if now["metadata"]["uid"] == uid and _selected(kind, now) else None


def _selected(kind: Kind, body: Object) -> bool:
    if not kind.selector:
        return True
    label, _, value = kind.selector.partition("=")
    return bool((body["metadata"].get("labels") or {}).get(label) == value)
