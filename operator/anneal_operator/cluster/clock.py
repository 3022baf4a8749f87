"""Time as the operator sees it: one narrow seam, so that tests need not wait."""

from __future__ import annotations

import asyncio
import time
from datetime import UTC, datetime
from typing import Protocol


class Clock(Protocol):
    """Tells the time and waits."""

    def now(self) -> datetime:
        """Returns the time of day, aware, in UTC. It may jump; use it for what people read, not to measure."""

    def monotonic(self) -> float:
        """Returns seconds since some moment. It never jumps."""

    async def sleep(self, seconds: float) -> None:
        """Waits."""

    async def wait(self, event: asyncio.Event, seconds: float | None = None) -> bool:
        """Waits for an event, and returns whether it came before the time was up.

        Args:
            event: What is waited for.
            seconds: Longest wait; None: for ever.
        """


class SystemClock:
    """The machine's clock."""

    def now(self) -> datetime:
        """Returns the time of day, aware, in UTC."""
        return datetime.now(UTC)

    def monotonic(self) -> float:
        """Returns seconds since some moment."""
        return time.monotonic()

    async def sleep(self, seconds: float) -> None:
        """Waits."""
        await asyncio.sleep(seconds)

    async def wait(self, event: asyncio.Event, seconds: float | None = None) -> bool:
        """Waits for an event, and returns whether it came before the time was up."""
        try:
            async with asyncio.timeout(seconds):
                await event.wait()
        except TimeoutError:
            return event.is_set()
        return True
