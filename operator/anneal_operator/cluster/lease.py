"""One operator at a time: a Lease, held and renewed, and a fence for the moment when it may be lost.

The rules are client-go's. Whoever finds that the Lease has not changed for as long as it lasts takes it over; time is
measured by the watcher's own monotonic clock from the change that it saw last, never by the holder's timestamps, for
clocks differ. The holder stops writing some seconds before anyone else can take over, counted from before it sent its
last successful renewal. A second holder for a moment is still possible (a write may be under way), so every write
must be safe anyway; the fence makes it rare.

Unlike client-go's, a holder that cannot reach the API server does not give up: it stops writing, keeps trying, and goes
on if the Lease is still its own when the server is back. An outage of the API server is no reason to restart.
"""

from __future__ import annotations

import asyncio
import logging
from contextlib import suppress
from dataclasses import dataclass
from random import Random
from typing import Any

from anneal_operator.cluster.client import Client
from anneal_operator.cluster.clock import Clock
from anneal_operator.cluster.errors import AlreadyExists, ApiError, Conflict, Fenced, NotFound
from anneal_operator.cluster.kinds import LEASE
from anneal_operator.plan.observed import Object

_LOG = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class LeaseTimes:
    """How long things take around a Lease, in seconds.

    Attributes:
        lasts: An unchanged Lease is free after so long.
        renew_deadline: A holder that could not renew for so long stops writing; shorter than `lasts`.
        renew_every: How often the holder renews.
        look_every: How often one that waits looks.
    """

    lasts: float = 20.0
    renew_deadline: float = 14.0
    renew_every: float = 5.0
    look_every: float = 2.0


class LeaseLost(Exception):
    """Somebody else holds the Lease now, so this process must not go on."""


class Lease:
    """A claim to be the only one.

    Args:
        client: The API server. It must not be fenced by this Lease.
        namespace: Namespace of the Lease.
        name: Its name.
        identity: Who claims; unlike any other's, and a process's own.
        clock: Time.
        random: Chance, to spread those who wait.
        times: How long things take.
        predecessor: Start of identities that are surely dead, such as an earlier container of the same pod.
    """

    def __init__(
        self,
        client: Client,
        *,
        namespace: str,
        name: str,
        identity: str,
        clock: Clock,
        random: Random,
        times: LeaseTimes | None = None,
        predecessor: str = "",
    ) -> None:
        self._client = client
        self._namespace = namespace
        self._name = name
        self._identity = identity
        self._clock = clock
        self._random = random
        self._times = times or LeaseTimes()
        self._predecessor = predecessor
        self._seen: dict[str, Any] | None = None  # spec as last seen
        self._seen_at = 0.0
        self._safe_until: float | None = None
        self._mine: Object | None = None

    @property
    def held(self) -> bool:
        """Whether this process may write now."""
        return self._safe_until is not None and self._clock.monotonic() < self._safe_until

    def fence(self) -> None:
        """Lets a write through.

        Raises:
            Fenced: The Lease is not held for sure.
        """
        if not self.held:
            raise Fenced("the Lease is not held: another operator may be at work")

    async def acquire(self) -> None:
        """Waits until the Lease is held."""
        waiting_for = None
        while not await self._claim():
            holder = (self._seen or {}).get("holderIdentity")
            if holder != waiting_for:
                _LOG.info(
                    "waiting for the Lease %s/%s, held by %s", self._namespace, self._name, holder or "nobody"
                )
                waiting_for = holder
            await self._clock.sleep(self._times.look_every * self._random.uniform(0.8, 1.2))
        _LOG.info("holding the Lease %s/%s as %s", self._namespace, self._name, self._identity)

    async def keep(self, stop: asyncio.Event) -> None:
        """Renews the Lease until told to stop.

        Raises:
            LeaseLost: Somebody else holds it.
        """
        pause = self._times.renew_every
        while not await self._clock.wait(stop, pause):
            pause = self._times.renew_every if await self._claim() else self._times.look_every
            holder = (self._seen or {}).get("holderIdentity")
            if holder and holder != self._identity:
                raise LeaseLost(f"the Lease {self._namespace}/{self._name} is held by {holder}")

    async def release(self) -> None:
        """Lets the next one have the Lease at once. Nothing may be written afterwards."""
        self._safe_until = None
        if self._mine is None:
            return
        spec = {
            **self._mine["spec"],
            "holderIdentity": "",
            "leaseDurationSeconds": 1,
            "renewTime": self._stamp(),
        }
        try:
            await self._client.replace(LEASE, {**self._mine, "spec": spec})
        except ApiError as error:
            _LOG.warning("could not release the Lease; the next operator waits until it runs out: %s", error)
        self._mine = None

    async def _claim(self) -> bool:
        """Takes or renews the Lease if it may be taken, and returns whether it is held now."""
        sent_at = self._clock.monotonic()
        try:
            mine = await self._write(sent_at)
        except (Conflict, AlreadyExists, NotFound):
            return False  # somebody else was faster, or took it away
        except ApiError as error:
            _LOG.warning("could not reach the Lease: %s", error)
            return False
        if mine is None:
            return False
        self._mine = mine
        self._see(mine["spec"])
        self._safe_until = sent_at + self._times.renew_deadline
        return True

    async def _write(self, sent_at: float) -> Object | None:
        if self._mine is not None and self.held:
            # It need not be read first: had it been changed, the write would be a conflict.
            renewed = {**self._mine["spec"], "renewTime": self._stamp()}
            with suppress(Conflict, NotFound):
                return await self._client.replace(LEASE, {**self._mine, "spec": renewed})
            self._mine = None
        try:
            found = await self._client.get(LEASE, self._namespace, self._name)
        except NotFound:
            body = {
                "apiVersion": LEASE.api_version,
                "kind": LEASE.kind,
                "metadata": {"name": self._name, "namespace": self._namespace},
                "spec": self._spec(transitions=0, acquired=self._stamp()),
            }
            return await self._client.create(LEASE, body)
        spec = found.get("spec") or {}
        self._see(spec)
        holder = spec.get("holderIdentity") or ""
        transitions = int(spec.get("leaseTransitions") or 0)
        if holder == self._identity:
            wanted = self._spec(transitions=transitions, acquired=spec.get("acquireTime") or self._stamp())
        elif not holder or self._is_dead(holder, spec, sent_at):
            wanted = self._spec(transitions=transitions + 1, acquired=self._stamp())
        else:
            self._safe_until = self._mine = None  # whatever we believed is over
            return None
        return await self._client.replace(LEASE, {**found, "spec": wanted})

    def _is_dead(self, holder: str, spec: dict[str, Any], now: float) -> bool:
        if self._predecessor and holder.startswith(self._predecessor):
            return True
        lasts = float(spec.get("leaseDurationSeconds") or self._times.lasts)
        return now - self._seen_at >= lasts

    def _see(self, spec: dict[str, Any]) -> None:
        if self._seen is None or spec != self._seen:
            self._seen = spec
            self._seen_at = self._clock.monotonic()

    def _spec(self, *, transitions: int, acquired: str) -> dict[str, Any]:
        return {
            "holderIdentity": self._identity,
            "leaseDurationSeconds": max(1, round(self._times.lasts)),
            "leaseTransitions": transitions,
            "acquireTime": acquired,
            "renewTime": self._stamp(),
        }

    def _stamp(self) -> str:
        return self._clock.now().strftime("%Y-%m-%dT%H:%M:%S.%fZ")
