"""Time as the operator sees it: one narrow seam, so that tests need not wait."""

from __future__ import annotations

import asyncio
import time
from datetime import UTC, datetime, timedelta
from email.utils import parsedate_to_datetime
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


_CONVINCED_SECONDS = 60.0
"""A server's clock that was set is followed when its answers have agreed for so long."""


class ServerClock:
    """The API server's time of day, as the dates of its answers tell it; until the first one, this machine's.

    What the operator writes down is read by the next operator, on another node with another clock, and is compared
    with what the server wrote. So there is one clock for all of it, and it is the server's.

    Args:
        clock: This machine's clock.
    """

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        # The server's time when `monotonic` was 0, between two moments; and what other answers say, and since when.
        self._epoch: tuple[datetime, datetime] | None = None
        self._other: tuple[datetime, datetime] | None = None
        self._other_since = 0.0

    def heard(self, date: str | None, asked: float, answered: float) -> None:
        """Takes note of the `Date` of an answer.

        Args:
            date: The header, which has whole seconds; None where there is none.
            asked: When the request was sent, by the monotonic clock.
            answered: When the answer was there.
        """
        try:
            said = parsedate_to_datetime(date or "").astimezone(UTC)
        except (ValueError, OverflowError):
            return
        new = said - timedelta(seconds=answered), said + timedelta(seconds=1 - asked)
        if self._epoch is None:
            self._epoch = new
        elif (both := _overlap(self._epoch, new)) is not None:
            self._epoch, self._other = both, None
        elif self._other is None or _overlap(self._other, new) is None:
            # One of several servers, or a proxy, may be wrong: that alone must not end what has a deadline.
            self._other, self._other_since = new, answered
        elif answered - self._other_since >= _CONVINCED_SECONDS:
            self._epoch, self._other = new, None

    def now(self) -> datetime:
        """Returns the server's time of day, aware, in UTC, at most a second late."""
        if self._epoch is None:
            return self._clock.now()
        return self._epoch[0] + timedelta(seconds=self._clock.monotonic())

    def monotonic(self) -> float:
        """Returns seconds since some moment."""
        return self._clock.monotonic()

    async def sleep(self, seconds: float) -> None:
        """Waits."""
        await self._clock.sleep(seconds)

    async def wait(self, event: asyncio.Event, seconds: float | None = None) -> bool:
        """Waits for an event, and returns whether it came before the time was up."""
        return await self._clock.wait(event, seconds)


def _overlap(
    one: tuple[datetime, datetime], other: tuple[datetime, datetime]
) -> tuple[datetime, datetime] | None:
    earliest, latest = max(one[0], other[0]), min(one[1], other[1])
    return (earliest, latest) if earliest <= latest else None
