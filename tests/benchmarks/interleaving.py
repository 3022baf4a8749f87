"""A B A B: ratios of neighbours, so that a machine that gets slower slows both."""

from __future__ import annotations

import statistics
from collections.abc import Callable, Mapping
from dataclasses import dataclass

Figures = dict[str, float]
"""What one contestant measured in one round, by name."""

Rounds = dict[str, list[Figures]]
"""Per contestant, what it measured in each round."""


@dataclass(frozen=True)
class Ratio:
    """Per-round ratios of one measurement to another."""

    values: list[float]

    @property
    def median(self) -> float:
        """The middle one."""
        return statistics.median(self.values)

    def __str__(self) -> str:
        if len(self.values) == 1:
            return f"{self.median:.2f}x (n=1)"
        return f"{self.median:.2f}x ({min(self.values):.2f}-{max(self.values):.2f}, n={len(self.values)})"


def interleave(
    contestants: Mapping[str, Callable[[int], Figures]], *, rounds: int, say: Callable[[str], None]
) -> Rounds:
    """Runs every contestant once a round, in turn.

    Args:
        contestants: What to run, by name; told the number of the round, from 0.
        rounds: How often.
        say: Told of each contestant that is about to run.

    Returns:
        What each measured in each round.
    """
    measured: Rounds = {name: [] for name in contestants}
    for number in range(rounds):
        for name, run in contestants.items():
            say(f"round {number + 1} of {rounds}: {name}")
            measured[name].append(run(number))
    return measured


def ratio(measured: Rounds, ours: str, theirs: str, figure: str) -> Ratio:
    """Returns ours over theirs, round by round."""
    return Ratio([a[figure] / b[figure] for a, b in zip(measured[ours], measured[theirs], strict=True)])


def median(measured: Rounds, name: str, figure: str) -> float:
    """Returns the middle of what a contestant measured."""
    return statistics.median(figures[figure] for figures in measured[name])
