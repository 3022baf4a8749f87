"""What a benchmark found: one record a comparison, shown as a Markdown table and kept as JSON."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import asdict, dataclass, field

from tests.benchmarks.interleaving import Ratio, Rounds, median, ratio


@dataclass(frozen=True)
class Comparison:
    """One line of the table: ours over theirs.

    Attributes:
        line: Name of the benchmark, for example `B2`.
        what: What was measured, of what, against what.
        ratio: Ours over theirs, round by round.
        ours: Our median, with its unit.
        theirs: Their median, with its unit.
        goal: What we want the ratio to be; empty where there is no goal.
        met: Whether the median reaches it; None where there is none.
        check: What was checked so that the figures mean the same, and what came out.
    """

    line: str
    what: str
    ratio: Ratio
    ours: str
    theirs: str
    goal: str
    met: bool | None
    check: str


@dataclass(frozen=True)
class Bound:
    """One figure of ours that is measured against a number, not against somebody else's.

    Attributes:
        line: Name of the benchmark.
        what: What was measured, of what.
        value: Our median, with its unit, the least and the greatest.
        goal: What we want it to be.
        met: Whether it is.
        check: What was checked so that the figure means something, and what came out.
    """

    line: str
    what: str
    value: str
    goal: str
    met: bool
    check: str


@dataclass
class LineResult:
    """Everything one benchmark found.

    Attributes:
        line: Its name.
        title: What it is about, for a heading.
        comparisons: The table.
        bounds: The table of what is measured against a number.
        rounds: Every figure of every contestant.
        notes: What a reader must know: what was skipped, what differs.
        sound: Whether every check held.
    """

    line: str
    title: str
    comparisons: list[Comparison] = field(default_factory=list)
    bounds: list[Bound] = field(default_factory=list)
    rounds: Rounds = field(default_factory=dict)
    notes: list[str] = field(default_factory=list)
    sound: bool = True

    def compare(
        self,
        what: str,
        ours: str,
        theirs: str,
        figure: str,
        *,
        unit: str,
        check: str,
        at_least: float | None = None,
        at_most: float | None = None,
    ) -> None:
        """Adds a comparison of two contestants.

        Args:
            what: What was measured, of what, against what.
            ours: Name of our contestant in `rounds`.
            theirs: Name of the other one.
            figure: Name of the figure.
            unit: Its unit, for people.
            check: What was checked.
            at_least: The goal for the median ratio, where more is better.
            at_most: The goal, where less is better.
        """
        values = ratio(self.rounds, ours, theirs, figure)
        goal, met = _judged(values.median, at_least, at_most, lambda bar: f"{bar:g}x")
        self.comparisons.append(
            Comparison(
                line=self.line,
                what=what,
                ratio=values,
                ours=f"{_short(median(self.rounds, ours, figure))} {unit}",
                theirs=f"{_short(median(self.rounds, theirs, figure))} {unit}",
                goal=goal,
                met=met,
                check=check,
            )
        )

    def bound(
        self,
        what: str,
        ours: str,
        figure: str,
        *,
        unit: str,
        check: str,
        at_least: float | None = None,
        at_most: float | None = None,
    ) -> None:
        """Adds a figure of ours that has a goal of its own.

        Args:
            what: What was measured, of what.
            ours: Name of our contestant in `rounds`.
            figure: Name of the figure.
            unit: Its unit, for people; empty: it is a number of things.
            check: What was checked.
            at_least: The goal for the median, where more is better.
            at_most: The goal, where less is better.
        """
        values = [figures[figure] for figures in self.rounds[ours]]
        middle = median(self.rounds, ours, figure)
        goal, met = _judged(middle, at_least, at_most, lambda bar: f"{_short(bar)} {unit}")
        if met is None:
            raise ValueError("a bound has a goal")
        spread = f"({_short(min(values))}-{_short(max(values))}, n={len(values)})"
        self.bounds.append(
            Bound(self.line, what, f"{_short(middle)} {unit} {spread}", goal.strip(), met, check)
        )

    def as_markdown(self) -> str:
        """Returns a section with the table, every contestant's medians and the notes."""
        parts = [f"## {self.line}: {self.title}", ""]
        if self.comparisons:
            parts += ["| line | what | ours / theirs | goal | ours | theirs | check |", _rule(7)]
            parts += [
                f"| {row.line} | {row.what} | **{row.ratio}** | {_goal(row)} | {row.ours} | {row.theirs} "
                f"| {row.check} |"
                for row in self.comparisons
            ]
            parts.append("")
        if self.bounds:
            parts += ["| line | what | ours | goal | check |", _rule(5)]
            parts += [
                f"| {row.line} | {row.what} | **{row.value}** | {_goal(row)} | {row.check} |"
                for row in self.bounds
            ]
            parts.append("")
        parts += _medians(self.rounds)
        parts += [f"* {note}" for note in self.notes]
        return "\n".join(parts).rstrip() + "\n"

    def as_json(self) -> dict[str, object]:
        """Returns everything, for programs."""
        return asdict(self)


def _judged(
    value: float, at_least: float | None, at_most: float | None, written: Callable[[float], str]
) -> tuple[str, bool | None]:
    """Returns a goal in words and whether a value meets it; no words and None where there is no goal."""
    if at_least is not None:
        return f">= {written(at_least)}", value >= at_least
    if at_most is not None:
        return f"<= {written(at_most)}", value <= at_most
    return "", None


def _goal(row: Comparison | Bound) -> str:
    if row.met is None:
        return ""
    return f"{row.goal} ({'met' if row.met else 'not met'})"


def _medians(rounds: Rounds) -> list[str]:
    figures = list(dict.fromkeys(name for runs in rounds.values() for run in runs for name in run))
    if not figures:
        return []
    lines = [
        "Medians of every contestant:",
        "",
        f"| contestant | {' | '.join(figures)} |",
        _rule(len(figures) + 1),
    ]
    for name, runs in rounds.items():
        cells = [_short(median(rounds, name, figure)) if figure in runs[0] else "" for figure in figures]
        lines.append(f"| {name} | {' | '.join(cells)} |")
    return [*lines, ""]


def _rule(columns: int) -> str:
    return "|" + " --- |" * columns


def _short(value: float) -> str:
    """Returns a number with three digits that mean something."""
    return f"{value:,.0f}" if abs(value) >= 100 else f"{value:.3g}"


def to_json(document: object) -> str:
    """Returns a document as JSON for people to read in a diff."""
    return json.dumps(document, indent=1, ensure_ascii=False, default=str) + "\n"
