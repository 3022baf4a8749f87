"""Proof that the watches live: how long a write of ours takes to come back as an event.

On an idle cluster no event arrives for hours, and a watch that hears nothing looks just like one that is dead. The
Lease is written every few seconds anyway, so it is watched too.
"""

from __future__ import annotations

from collections import OrderedDict

from anneal_operator.cluster.clock import Clock


class Canary:
    """Compares the writes of the Lease with their events.

    Args:
        clock: Time.

    Attributes:
        was_heard: Whether an event has ever arrived.
    """

    def __init__(self, clock: Clock) -> None:
        self.was_heard = False
        self._clock = clock
        self._open: OrderedDict[int, float] = OrderedDict()  # by version, when it was sent
        self._last = 0.0

    def sent(self, version: int, at: float) -> None:
        """Takes note of a write.

        Args:
            version: Resource version that it led to.
            at: When it was sent, by the monotonic clock.
        """
        self._open[version] = at

    def heard(self, version: int) -> None:
        """Takes note of an event. A watch may leave out versions, so an event stands for the older writes too."""
        while self._open and next(iter(self._open)) <= version:
            known, at = self._open.popitem(last=False)
            if known == version:
                self._last = self._clock.monotonic() - at
            self.was_heard = True

    @property
    def delay(self) -> float:
        """Seconds from the last write to its event, or since the oldest write whose event is still missing."""
        waiting = next(iter(self._open.values()), None)
        return self._last if waiting is None else max(self._last, self._clock.monotonic() - waiting)
