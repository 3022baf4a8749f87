"""How long to wait before trying again. Pure: chance is passed in."""

from __future__ import annotations

from dataclasses import dataclass
from random import Random


@dataclass(frozen=True, slots=True)
class Backoff:
    """Waits that double from one try to the next, spread by chance so that many waiters do not return together.

    Attributes:
        first: Longest wait before the second try, in seconds.
        longest: Longest wait at all, in seconds.
    """

    first: float
    longest: float

    def delay(self, failures: int, random: Random, *, at_least: float = 0.0) -> float:
        """Returns the seconds to wait: between half and all of the doubled wait.

        Args:
            failures: Tries that failed so far, 1 or more.
            random: Where chance comes from.
            at_least: Shortest wait, where somebody asked for one.
        """
        # The exponent is bounded, for 2 ** failures of a key that never succeeds has no end.
        whole = min(self.longest, self.first * 2.0 ** min(failures - 1, 32))
        return max(at_least, whole * random.uniform(0.5, 1.0))
