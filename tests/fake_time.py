"""A clock that moves only when a test says so."""

from __future__ import annotations

import asyncio
import heapq
import itertools
from datetime import UTC, datetime, timedelta

_START = datetime(2026, 1, 1, 12, tzinfo=UTC)
_SETTLE = 25  # rounds of the event loop after which everything that can move has moved


class FakeClock:
    """Keeps its own time. `advance` moves it and lets everything run that is due on the way."""

    def __init__(self) -> None:
        self.time = 1000.0
        self._sleepers: list[tuple[float, int, asyncio.Event]] = []
        self._numbers = itertools.count()

    def now(self) -> datetime:
        return _START + timedelta(seconds=self.time - 1000.0)

    def monotonic(self) -> float:
        return self.time

    async def sleep(self, seconds: float) -> None:
        await self.wait(asyncio.Event(), seconds)

    async def wait(self, event: asyncio.Event, seconds: float | None = None) -> bool:
        if event.is_set():
            return True
        if seconds is None:
            await event.wait()
            return True
        if seconds <= 0:
            await asyncio.sleep(0)
            return event.is_set()
        alarm = asyncio.Event()
        heapq.heappush(self._sleepers, (self.time + seconds, next(self._numbers), alarm))
        waits = [asyncio.create_task(event.wait()), asyncio.create_task(alarm.wait())]
        try:
            await asyncio.wait(waits, return_when=asyncio.FIRST_COMPLETED)
        finally:
            for wait in waits:
                wait.cancel()
        return event.is_set()

    async def advance(self, seconds: float) -> None:
        """Lets time pass, stopping wherever somebody waits for that moment."""
        end = self.time + seconds
        await self.settle()
        while self._sleepers and self._sleepers[0][0] <= end:
            due, _, alarm = heapq.heappop(self._sleepers)
            self.time = max(self.time, due)
            alarm.set()
            await self.settle()
        self.time = end
        await self.settle()

    async def settle(self) -> None:
        """Lets everything run that need not wait."""
        for _ in range(_SETTLE):
            await asyncio.sleep(0)
