"""A B A B: ratios of neighbours, so that a machine that gets slower slows both."""

from __future__ import annotations

import statistics
from collections.abc import Callable, Mapping
from dataclasses import dataclass


@dataclass(frozen=True)
class Ratio:
    """Per-round ratios of one measurement to another."""

    values: list[float]

    @property
    def median(self) -> float:
        """The middle one."""
        return statistics.median(self.values)

    def __str__(self) -> str:
        return f"{self.median:.2f}x ({min(self.values):.2f}-{max(self.values):.2f}, n={len(self.values)})"


def interleave(
    contestants: Mapping[str, Callable[[], dict[str, float]]], *, rounds: int
) -> dict[str, list[dict[str, float]]]:
    """Runs every contestant once a round, in turn, and returns what each measured in each round."""
    measured: dict[str, list[dict[str, float]]] = {name: [] for name in contestants}
    for _ in range(rounds):
        for name, run in contestants.items():
            measured[name].append(run())
    return measured


def ratio(measured: Mapping[str, list[dict[str, float]]], ours: str, theirs: str, figure: str) -> Ratio:
    """Returns ours over theirs, round by round."""
    return Ratio([a[figure] / b[figure] for a, b in zip(measured[ours], measured[theirs], strict=True)])
