"""What is to be looked at: keys, each once, each by one worker at a time.

A key that is added again while a worker has it is handed out once more afterwards; however often it was added, once.
That makes the reconcile loop level-based: it never sees events, only that something may have changed.
"""

from __future__ import annotations

import asyncio
import heapq
import itertools
import math
from collections import OrderedDict
from collections.abc import Callable, Hashable, Iterator
from dataclasses import dataclass
from random import Random
from typing import Generic, TypeVar

from anneal_operator.cluster.clock import Clock
from anneal_operator.cluster.retries import Backoff

_SPARE_TIMERS = 1000  # what few keys may leave behind before it is worth clearing away

K = TypeVar("K", bound=Hashable)


@dataclass(frozen=True, slots=True)
class Work(Generic[K]):
    """A key that a worker has in hand.

    Attributes:
        key: What to look at.
        waited: Seconds that it lay ready in the queue.
    """

    key: K
    waited: float


class WorkQueue(Generic[K]):
    """Hands out keys to workers.

    Args:
        clock: Time.
        random: Chance, for the waits after failures.
        backoff: How long a key waits after failures.
        group: What a key belongs to: groups take turns, so that many keys of one hold up no other.
    """

    def __init__(
        self,
        *,
        clock: Clock,
        random: Random,
        backoff: Backoff,
        group: Callable[[K], Hashable] = lambda _: None,
    ) -> None:
        self._clock = clock
        self._random = random
        self._backoff = backoff
        self._group = group
        self._first: OrderedDict[K, float] = OrderedDict()  # ready before all others, since when
        self._ready: OrderedDict[Hashable, OrderedDict[K, float]] = OrderedDict()  # by group, since when
        self._in_hand: dict[K, float] = {}  # since when
        self._again: dict[K, bool] = {}  # whether before all others
        self._due: dict[K, float] = {}  # when a key becomes ready, by the monotonic clock
        self._timers: list[tuple[float, int, K]] = []  # a heap; an entry counts if `_due` still says so
        self._numbers = itertools.count()  # keys themselves need not be comparable
        self._failures: dict[K, int] = {}
        self._changed = asyncio.Event()
        self._closed = False

    def add(self, key: K, *, first: bool = False) -> None:
        """Makes a key ready now.

        Args:
            key: What to look at.
            first: Before all others. Whoever asks for that sees to it that the others get their turn.
        """
        self._due.pop(key, None)
        if key in self._in_hand:
            self._again[key] = first or self._again.get(key, False)
            return
        group = self._group(key)
        waiting = self._ready.get(group, OrderedDict())
        if key not in self._first and key not in waiting:
            self._changed.set()
        if first and key not in self._first:
            self._first[key] = waiting.pop(key, self._clock.monotonic())
            self._first.move_to_end(key, last=False)
            if not waiting:
                self._ready.pop(group, None)
        elif key not in self._first:
            self._ready.setdefault(group, OrderedDict()).setdefault(key, self._clock.monotonic())

    def add_after(self, key: K, seconds: float) -> None:
        """Makes a key ready later, unless it gets ready earlier anyway."""
        due = self._clock.monotonic() + max(0.0, seconds)
        if self._is_ready(key) or key in self._again or self._due.get(key, due + 1.0) <= due:
            return
        self._due[key] = due
        heapq.heappush(self._timers, (due, next(self._numbers), key))
        if len(self._timers) > 2 * len(self._due) + _SPARE_TIMERS:
            # Outdated entries that are due in weeks would lie below those of sooner until then.
            self._timers = [(at, next(self._numbers), other) for other, at in self._due.items()]
            heapq.heapify(self._timers)
        self._changed.set()

    def retry(self, key: K, *, at_least: float = 0.0, at_most: float = math.inf) -> float:
        """Makes a key ready after a wait that grows with each failure, and returns the wait in seconds.

        Args:
            key: What failed.
            at_least: Shortest wait, where the API server asked for one.
            at_most: Longest wait, where no fault of the key's own made it fail.
        """
        failures = self._failures[key] = self._failures.get(key, 0) + 1
        delay = max(at_least, min(at_most, self._backoff.delay(failures, self._random)))
        self.add_after(key, delay)
        return delay

    def forget_failures(self, key: K) -> None:
        """Takes note that a key's work succeeded: its next failure is the first again."""
        self._failures.pop(key, None)

    def failures(self, key: K) -> int:
        """Returns how often a key's work failed in a row."""
        return self._failures.get(key, 0)

    async def take(self) -> Work[K] | None:
        """Waits for a key and puts it into the caller's hand, who must give it back with `done`.

        What was to happen to the key later is dropped: whoever works on it decides that anew.

        Returns:
            The key; None: the queue was closed.
        """
        while not self._closed:
            self._promote()
            if self._first or self._ready:
                key, since = self._next()
                now = self._clock.monotonic()
                self._in_hand[key] = now
                self._due.pop(key, None)
                return Work(key, now - since)
            self._changed.clear()
            await self._clock.wait(
                self._changed, self._timers[0][0] - self._clock.monotonic() if self._timers else None
            )
        return None

    def _next(self) -> tuple[K, float]:
        if self._first:
            return self._first.popitem(last=False)
        group, waiting = next(iter(self._ready.items()))
        taken = waiting.popitem(last=False)
        if waiting:
            self._ready.move_to_end(group)
        else:
            del self._ready[group]
        return taken

    def _is_ready(self, key: K) -> bool:
        return key in self._first or key in self._ready.get(self._group(key), ())

    def _all_ready(self) -> Iterator[float]:
        """Yields since when each key is ready."""
        yield from self._first.values()
        for waiting in self._ready.values():
            yield from waiting.values()

    def done(self, key: K) -> None:
        """Gives a key back."""
        del self._in_hand[key]
        if key in self._again:
            self.add(key, first=self._again.pop(key))

    def close(self) -> None:
        """Hands out nothing any more."""
        self._closed = True
        self._changed.set()

    def _promote(self) -> None:
        now = self._clock.monotonic()
        while self._timers and (self._timers[0][0] <= now or self._outdated(self._timers[0])):
            timer = heapq.heappop(self._timers)
            if not self._outdated(timer):
                self.add(timer[2])

    def _outdated(self, timer: tuple[float, int, K]) -> bool:
        due, _, key = timer
        return self._due.get(key) != due

    @property
    def depth(self) -> int:
        """Keys that are ready and in nobody's hand."""
        return len(self._first) + sum(map(len, self._ready.values()))

    @property
    def delayed(self) -> int:
        """Keys that get ready later."""
        return len(self._due)

    @property
    def oldest_seconds(self) -> float:
        """How long the key that is ready longest has been so; 0: none is."""
        oldest = min(self._all_ready(), default=None)
        return 0.0 if oldest is None else self._clock.monotonic() - oldest

    @property
    def longest_work_seconds(self) -> float:
        """How long a worker has had its key in hand at most; 0: none has."""
        return self._clock.monotonic() - min(self._in_hand.values()) if self._in_hand else 0.0
