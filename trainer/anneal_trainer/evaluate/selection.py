"""Which variant the gate reads. Pure, and decided on validation rows alone.

A variant is eligible if it loses at most `compression.maxDrop` against the uncompressed model. Of the eligible ones,
those that clear every absolute bar on validation come first, and of these the preferred one is chosen. Where none
clears the bars on validation, the most accurate eligible one is read all the same: validation is a sample, and the
gate's word counts.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

from anneal_api.metrics import Metric
from anneal_api.spec.compression import Preference
from anneal_api.spec.evaluation import Gate

TOLERANCE = 1e-12
"""Scores this close are equal: a score at the bar has cleared it, whatever the last bit says."""


@dataclass(frozen=True, slots=True)
class Candidate:
    """What selection knows of a variant.

    Attributes:
        name: Name of the variant.
        bytes: Size of its weights.
        latency_ms: Median time for one row.
        metrics: Its scores on the validation rows.
    """

    name: str
    bytes: int
    latency_ms: float
    metrics: Mapping[str, float]


@dataclass(frozen=True, slots=True)
class Choice:
    """What selection says of a variant.

    Attributes:
        name: Name of the variant.
        drop: Loss against the uncompressed model in the leading metric; negative where it is better.
        eligible: Whether the drop is within bounds.
        selected: Whether the gate reads it.
        why: Both in words.
    """

    name: str
    drop: float
    eligible: bool
    selected: bool
    why: str


def clears(gate: Gate, score: float) -> bool:
    """Returns whether a score clears a gate's absolute bar; a gate without one is cleared."""
    if gate.min is not None:
        return score >= gate.min - TOLERANCE
    if gate.max is not None:
        return score <= gate.max + TOLERANCE
    return True


def select(
    candidates: Sequence[Candidate],
    *,
    uncompressed: str,
    leading: Metric,
    max_drop: float,
    prefer: Preference,
    gates: Sequence[Gate],
) -> list[Choice]:
    """Chooses the variant that the gate reads.

    Args:
        candidates: The variants, the uncompressed one among them.
        uncompressed: Its name.
        leading: Metric that drops are measured in and accuracy is ranked by.
        max_drop: Largest drop that is accepted.
        prefer: What decides between variants that are good enough.
        gates: The manifest's bars; the absolute ones are looked at.

    Returns:
        One choice a candidate, in the same order; exactly one is selected.
    """
    parent = next(candidate for candidate in candidates if candidate.name == uncompressed)
    drops = {c.name: leading.gain(parent.metrics[leading.name], c.metrics[leading.name]) for c in candidates}
    eligible = [c for c in candidates if c is parent or drops[c.name] <= max_drop + TOLERANCE]
    clearing = [c for c in eligible if all(clears(gate, c.metrics[gate.metric]) for gate in gates)]
    rank = _ranking(prefer if clearing else Preference.MOST_ACCURATE, leading)
    chosen = min(clearing or eligible, key=rank)

    def why(candidate: Candidate) -> str:
        drop = drops[candidate.name]
        if candidate not in eligible:
            return f"loses {drop:.4f} in {leading.name} on validation, more than the {max_drop:g} that are accepted"
        if candidate is not chosen:
            return _reason_against(candidate, chosen, bool(clearing), candidate in clearing, prefer)
        if not clearing:
            return "no variant clears the bars on validation; this is the most accurate one"
        return f"the {_WORDS[prefer]} variant that is good enough"

    return [Choice(c.name, drops[c.name], c in eligible, c is chosen, why(c)) for c in candidates]


_WORDS = {
    Preference.SMALLEST: "smallest",
    Preference.FASTEST: "fastest",
    Preference.MOST_ACCURATE: "most accurate",
}


def _ranking(prefer: Preference, leading: Metric) -> Callable[[Candidate], tuple[float, int, str]]:
    def rank(candidate: Candidate) -> tuple[float, int, str]:
        match prefer:
            case Preference.SMALLEST:
                first = float(candidate.bytes)
            case Preference.FASTEST:
                first = candidate.latency_ms
            case Preference.MOST_ACCURATE:
                first = -leading.gain(candidate.metrics[leading.name], 0.0)
        return first, candidate.bytes, candidate.name

    return rank


def _reason_against(
    candidate: Candidate, chosen: Candidate, any_clears: bool, clears_bars: bool, prefer: Preference
) -> str:
    del candidate
    if any_clears and not clears_bars:
        return "does not clear every bar on validation"
    order = _WORDS[prefer] if any_clears else _WORDS[Preference.MOST_ACCURATE]
    return f"good enough, but {chosen.name} is the {order}"
