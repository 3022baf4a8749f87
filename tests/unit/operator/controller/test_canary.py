"""The canary tells a live watch from a dead one."""

from __future__ import annotations

import asyncio

from fake_time import FakeClock

from anneal_operator.controller.canary import Canary


def test_measures_from_a_write_to_its_event() -> None:
    async def main() -> None:
        clock = FakeClock()
        canary = Canary(clock)
        canary.sent(7, clock.monotonic())
        await clock.advance(0.25)
        assert not canary.was_heard
        canary.heard(7)
        assert canary.was_heard
        await clock.advance(4)
        assert canary.delay == 0.25

    asyncio.run(main())


def test_a_silent_watch_shows_at_once_and_keeps_growing() -> None:
    async def main() -> None:
        clock = FakeClock()
        canary = Canary(clock)
        for version in (1, 2, 3):
            canary.sent(version, clock.monotonic())
            await clock.advance(5)
        assert canary.delay == 15
        canary.heard(2)  # the watch skipped version 1, which is as good
        assert canary.delay == 10
        canary.heard(3)
        assert canary.delay == 5

    asyncio.run(main())


def test_an_event_of_an_earlier_life_proves_nothing() -> None:
    canary = Canary(FakeClock())
    canary.heard(99)
    assert not canary.was_heard
    assert canary.delay == 0
