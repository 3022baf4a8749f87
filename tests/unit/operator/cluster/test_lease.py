"""The Lease: one holder at a time, by everyone's own clock, and a fence in time."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Mapping
from random import Random
from typing import Any

import pytest
from fake_time import FakeClock

from anneal_operator.cluster.errors import AlreadyExists, ApiError, Conflict, Fenced, NotFound, Unavailable
from anneal_operator.cluster.lease import Lease, LeaseLost


class Shelf:
    """Keeps the one Lease as an API server would. Stands where the client stands."""

    def __init__(self) -> None:
        self.body: dict[str, Any] | None = None
        self.version = 0
        self.writes = 0
        self.down = False

    def _reach(self) -> None:
        if self.down:
            raise Unavailable("no connection")

    async def get(self, *_: object) -> Mapping[str, Any]:
        self._reach()
        await asyncio.sleep(0)
        if self.body is None:
            raise NotFound("no Lease")
        return self.body

    async def create(self, _: object, body: Mapping[str, Any]) -> Mapping[str, Any]:
        self._reach()
        if self.body is not None:
            raise AlreadyExists("there is one")
        return self._store(body)

    async def replace(self, _: object, body: Mapping[str, Any]) -> Mapping[str, Any]:
        self._reach()
        if self.body is None:
            raise NotFound("no Lease")
        if body["metadata"]["resourceVersion"] != self.body["metadata"]["resourceVersion"]:
            raise Conflict("it has changed")
        return self._store(body)

    def _store(self, body: Mapping[str, Any]) -> Mapping[str, Any]:
        self.version += 1
        self.writes += 1
        self.body = {**body, "metadata": {**body["metadata"], "resourceVersion": str(self.version)}}
        return self.body

    @property
    def holder(self) -> str:
        assert self.body is not None
        return str(self.body["spec"]["holderIdentity"])


class Room:
    """A shelf, a clock, and leases that contend."""

    def __init__(self) -> None:
        self.shelf = Shelf()
        self.clock = FakeClock()

    def lease(self, identity: str, **options: Any) -> Lease:
        return Lease(
            self.shelf,  # type: ignore[arg-type]
            namespace="ns",
            name="operator",
            identity=identity,
            clock=options.pop("clock", self.clock),
            random=Random(1),
            **options,
        )


def run(scenario: Callable[[Room], Awaitable[None]]) -> None:
    async def main() -> None:
        await asyncio.wait_for(scenario(Room()), 20)

    asyncio.run(main())


def test_takes_a_lease_that_nobody_holds_and_renews_it() -> None:
    async def scenario(room: Room) -> None:
        lease, stop = room.lease("a"), asyncio.Event()
        with pytest.raises(Fenced):
            lease.fence()
        await lease.acquire()
        lease.fence()
        keeping = asyncio.create_task(lease.keep(stop))
        await room.clock.advance(300)
        assert lease.held
        assert room.shelf.holder == "a"
        assert 50 <= room.shelf.writes <= 70
        stop.set()
        await room.clock.settle()
        await keeping

    run(scenario)


def test_a_second_one_waits_and_takes_over_when_the_first_falls_silent() -> None:
    async def scenario(room: Room) -> None:
        first, second, stop = room.lease("a"), room.lease("b"), asyncio.Event()
        await first.acquire()
        keeping = asyncio.create_task(first.keep(stop))
        waiting = asyncio.create_task(second.acquire())
        await room.clock.advance(120)
        assert not waiting.done()
        keeping.cancel()  # killed
        silent_since = room.clock.monotonic()
        while not waiting.done():
            await room.clock.advance(0.5)
            assert not (first.held and second.held)
        assert 14 <= room.clock.monotonic() - silent_since <= 26
        assert second.held
        assert room.shelf.body is not None
        assert room.shelf.body["spec"]["leaseTransitions"] == 1

    run(scenario)


def test_the_first_stops_writing_before_the_second_can_start() -> None:
    async def scenario(room: Room) -> None:
        first, second = room.lease("a"), room.lease("b")
        await first.acquire()
        waiting = asyncio.create_task(second.acquire())
        fenced_at = None
        while not waiting.done():
            await room.clock.advance(0.25)
            if fenced_at is None and not first.held:
                fenced_at = room.clock.monotonic()
        assert fenced_at is not None
        assert room.clock.monotonic() - fenced_at >= 5

    run(scenario)


def test_clocks_that_disagree_change_nothing() -> None:
    class Skewed(FakeClock):
        def now(self):  # type: ignore[no-untyped-def]
            return super().now().replace(year=2030)

    async def scenario(room: Room) -> None:
        first, stop = room.lease("a"), asyncio.Event()
        await first.acquire()
        keeping = asyncio.create_task(first.keep(stop))
        # The second one believes that every renewal is years old; it counts from the change that it saw itself.
        skewed = Skewed()
        second = asyncio.create_task(room.lease("b", clock=skewed).acquire())
        for _ in range(100):
            await room.clock.advance(1)
            await skewed.advance(1)
        assert not second.done()
        assert first.held
        second.cancel()
        keeping.cancel()

    run(scenario)


def test_a_holder_that_lost_it_to_another_says_so() -> None:
    async def scenario(room: Room) -> None:
        first, second, stop = room.lease("a"), room.lease("b"), asyncio.Event()
        await first.acquire()
        waiting = asyncio.create_task(second.acquire())
        await room.clock.advance(25)  # the first was frozen meanwhile
        assert waiting.done()
        keeping = asyncio.create_task(first.keep(stop))
        await room.clock.advance(6)
        with pytest.raises(LeaseLost, match="held by b"):
            await keeping
        assert not first.held

    run(scenario)


def test_an_outage_stops_the_writes_but_ends_nothing() -> None:
    async def scenario(room: Room) -> None:
        lease, stop = room.lease("a"), asyncio.Event()
        await lease.acquire()
        keeping = asyncio.create_task(lease.keep(stop))
        await room.clock.advance(20)
        room.shelf.down = True
        await room.clock.advance(13)
        await room.clock.advance(7)
        with pytest.raises(Fenced):
            lease.fence()
        await room.clock.advance(600)
        assert not keeping.done()
        room.shelf.down = False
        await room.clock.advance(6)
        lease.fence()
        keeping.cancel()

    run(scenario)


def test_a_released_lease_is_free_at_once() -> None:
    async def scenario(room: Room) -> None:
        first, second = room.lease("a"), room.lease("b")
        await first.acquire()
        await first.release()
        with pytest.raises(Fenced):
            first.fence()
        waiting = asyncio.create_task(second.acquire())
        await room.clock.settle()
        assert waiting.done()
        assert room.shelf.holder == "b"

    run(scenario)


def test_the_next_container_of_the_same_pod_need_not_wait() -> None:
    async def scenario(room: Room) -> None:
        await room.lease("pod1_x").acquire()
        stranger = asyncio.create_task(room.lease("pod2_y", predecessor="pod2_").acquire())
        await room.clock.settle()
        assert not stranger.done()
        stranger.cancel()
        await room.lease("pod1_z", predecessor="pod1_").acquire()
        assert room.shelf.holder == "pod1_z"

    run(scenario)


def test_of_two_that_start_together_one_gets_it() -> None:
    async def scenario(room: Room) -> None:
        leases = [room.lease(name) for name in "abc"]
        tasks = [asyncio.create_task(lease.acquire()) for lease in leases]
        await room.clock.settle()
        assert [lease.held for lease in leases].count(True) == 1
        for task in tasks:
            task.cancel()

    run(scenario)


def test_a_lease_that_somebody_deletes_is_made_again() -> None:
    async def scenario(room: Room) -> None:
        lease, stop = room.lease("a"), asyncio.Event()
        await lease.acquire()
        keeping = asyncio.create_task(lease.keep(stop))
        room.shelf.body = None
        await room.clock.advance(6)
        assert room.shelf.holder == "a"
        assert lease.held
        keeping.cancel()

    run(scenario)


def test_a_release_that_cannot_be_written_is_no_error() -> None:
    async def scenario(room: Room) -> None:
        lease = room.lease("a")
        await lease.acquire()
        room.shelf.down = True
        await lease.release()
        assert not lease.held

    run(scenario)


def test_the_errors_that_count_as_not_held_are_api_errors() -> None:
    assert issubclass(Fenced, ApiError)
