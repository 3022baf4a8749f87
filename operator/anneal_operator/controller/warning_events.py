"""Kubernetes Events of type Warning, read live while something of a job waits.

Watching Events would mean holding every Event of the cluster. They are read only when they may explain why something
waits, and one list serves all jobs of a namespace for a while, for the API server keeps Events in no cache and reads
through all of them for every selector.
"""

from __future__ import annotations

import asyncio
import logging
from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from anneal_operator.cluster.client import Client
from anneal_operator.cluster.clock import Clock
from anneal_operator.cluster.errors import ApiError
from anneal_operator.cluster.kinds import CORE_EVENT, JOB, RAY_JOB
from anneal_operator.plan.observed import Object

_LOG = logging.getLogger(__name__)

Subject = tuple[str, str]
"""Kind and name of what an Event is about."""

FRESH_SECONDS = 10.0
"""A list is used again for so long."""


@dataclass(frozen=True, slots=True)
class _Page:
    read_at: float
    by_subject: Mapping[Subject, list[Object]]


class WarningEvents:
    """Reads Warning Events of a namespace, at most every ten seconds.

    Args:
        client: The API server.
        clock: Time.
    """

    def __init__(self, client: Client, clock: Clock) -> None:
        self._client = client
        self._clock = clock
        self._pages: dict[str, _Page] = {}
        self._reading: dict[str, asyncio.Lock] = {}

    async def about(self, namespace: str, subjects: Mapping[Subject, str]) -> tuple[Object, ...]:
        """Returns the Events about some objects, the newest last.

        Args:
            namespace: Where.
            subjects: Kind and name of each object, and its UID; empty: whichever.
        """
        page = await self._page(namespace)
        found = [
            event
            for subject, uid in subjects.items()
            for event in page.by_subject.get(subject, ())
            # An earlier object of that name has left Events too.
            if not uid or event["involvedObject"].get("uid", uid) == uid
        ]
        return tuple(sorted(found, key=_seen_at))

    async def _page(self, namespace: str) -> _Page:
        # One list serves all who wait for it; nobody waits for the list of another namespace.
        async with self._reading.setdefault(namespace, asyncio.Lock()):
            page = self._pages.get(namespace)
            if page is None or self._clock.monotonic() - page.read_at >= FRESH_SECONDS:
                page = self._pages[namespace] = await self._read(namespace)
                self._forget_stale()
            return page

    async def _read(self, namespace: str) -> _Page:
        by_subject: Mapping[Subject, list[Object]] = defaultdict(list)
        try:
            async for event in self._client.objects(CORE_EVENT, namespace, fields="type=Warning"):
                subject = event.get("involvedObject") or {}
                by_subject[str(subject.get("kind")), str(subject.get("name"))].append(event)
        except ApiError as error:
            # Without Events the status says less, but says it; nothing else depends on them.
            _LOG.warning("cannot read Events in %s: %s", namespace, error)
        return _Page(self._clock.monotonic(), by_subject)

    def _forget_stale(self) -> None:
        now = self._clock.monotonic()
        stale = [name for name, page in self._pages.items() if now - page.read_at >= FRESH_SECONDS]
        for name in stale:
            del self._pages[name]
            if not self._reading[name].locked():
                del self._reading[name]


def subjects_of(bodies: Sequence[Object]) -> dict[Subject, str]:
    """Returns the subjects that objects are, with their UIDs, and what KubeRay makes for them.

    That is their Ray clusters, and the Job that submits a RayJob's driver, which has the RayJob's name.
    """
    subjects = {(body["kind"], body["metadata"]["name"]): body["metadata"]["uid"] for body in bodies}
    for body in bodies:
        status = body.get("status") or {}
        parts = (status, status.get("activeServiceStatus") or {}, status.get("pendingServiceStatus") or {})
        names = [part["rayClusterName"] for part in parts if part.get("rayClusterName")]
        subjects |= {("RayCluster", name): "" for name in names}
        if body["kind"] == RAY_JOB.kind:
            subjects.setdefault((JOB.kind, body["metadata"]["name"]), "")
    return subjects


def _seen_at(event: Object) -> str:
    series = event.get("series") or {}
    times = (series.get("lastObservedTime"), event.get("lastTimestamp"), event.get("eventTime"))
    # Times in UTC, as the API server writes them, sort as text; the name makes the order fixed.
    latest = max((time for time in times if time), default=event["metadata"].get("creationTimestamp", ""))
    return f"{latest} {event['metadata']['name']}"
