"""Which variant the gate reads. Pure, and decided on validation rows alone.

A variant is eligible if it loses at most `compression.maxDrop` against the uncompressed model in the leading
metric. Of the eligible ones, those that clear every absolute bar on validation come first, and of these the
preferred one is chosen. Where none clears the bars on validation, the most accurate eligible one is read all the
same: validation is a sample, and the decision is the gate's.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from anneal_api.job import FineTuneJobSpec
from anneal_api.metrics import PRIMARY_METRIC, Direction, Metric
from anneal_api.spec.compression import Preference
from anneal_api.spec.evaluation import Evaluation, Gate
from anneal_api.tasks import Task
from anneal_trainer.evaluate.sentences import count_text, score_text

TOLERANCE = 1e-12
"""Scores this close are equal: a score at the bar has cleared it, whatever its last bit says."""


@dataclass(frozen=True, slots=True)
class Candidate:
    """What selection knows of a variant.

    Attributes:
        name: Name of the variant.
        bytes: Size of its weights.
        latency_ms: Median time for one row, in milliseconds.
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


def shown_metrics(task: Task, evaluation: Evaluation) -> list[str]:
    """Returns the metrics to show, the leading one first.

    Leading is the first of `evaluation.metrics`, else the metric of the first gate, else the task's primary one.
    """
    named = [*evaluation.metrics, *(gate.metric for gate in evaluation.gates)]
    return list(dict.fromkeys(named)) or [PRIMARY_METRIC[task], "accuracy"]


def selection_metric(spec: FineTuneJobSpec) -> str:
    """Returns the metric that picks the best epoch: that of early stopping, else the leading one."""
    stopping = spec.training.early_stopping
    return (stopping.metric if stopping else None) or shown_metrics(spec.task, spec.evaluation)[0]


def clears(gate: Gate, score: float) -> bool:
    """Returns whether a score clears a gate's absolute bar. NaN clears none; a gate without one is cleared."""
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
        uncompressed: Its name. It is always eligible.
        leading: Metric that drops are measured in and accuracy is ranked by.
        max_drop: Largest drop that is accepted.
        prefer: What decides between variants that are good enough. Ties go to the smaller one, then by name.
        gates: The manifest's bars; the absolute ones are looked at.

    Returns:
        One choice a candidate, in the same order; exactly one is selected.
    """
    parent = next(candidate for candidate in candidates if candidate.name == uncompressed)
    # Adding 0 turns a drop of -0.0 into 0.0.
    drops = {
        c.name: leading.gain(parent.metrics[leading.name], c.metrics[leading.name]) + 0.0 for c in candidates
    }
    eligible = [c for c in candidates if c is parent or drops[c.name] <= max_drop + TOLERANCE]
    clearing = [c for c in eligible if not _missed(gates, c)]
    order = prefer if clearing else Preference.MOST_ACCURATE
    chosen = min(clearing or eligible, key=lambda c: (_rank(c, order, leading), c.bytes, c.name))

    def why(candidate: Candidate) -> str:
        drop = drops[candidate.name]
        if candidate not in eligible:
            return _too_far(drop, leading, max_drop, uncompressed)
        standing = "the uncompressed model" if candidate is parent else _standing(drop, leading, uncompressed)
        missed = _missed(gates, candidate)
        if candidate is chosen:
            return f"{standing}; {_for_it(len(clearing), len(eligible), prefer)}"
        if clearing and missed:
            return f"{standing}; on validation {_misses(missed[0], candidate)}"
        return f"{standing}; {_against_it(candidate, chosen, order, leading)}"

    return [Choice(c.name, drops[c.name], c in eligible, c is chosen, why(c)) for c in candidates]


def _missed(gates: Sequence[Gate], candidate: Candidate) -> list[Gate]:
    return [gate for gate in gates if not clears(gate, candidate.metrics[gate.metric])]


def _rank(candidate: Candidate, order: Preference, leading: Metric) -> float:
    """Returns what the preferred variant has least of."""
    costs = {
        Preference.SMALLEST: float(candidate.bytes),
        Preference.FASTEST: candidate.latency_ms,
        Preference.MOST_ACCURATE: leading.gain(0.0, candidate.metrics[leading.name]),
    }
    return costs[order]


_SUPERLATIVE = {
    Preference.SMALLEST: "the smallest",
    Preference.FASTEST: "the fastest",
    Preference.MOST_ACCURATE: "the most accurate",
}


def _too_far(drop: float, leading: Metric, max_drop: float, parent: str) -> str:
    if not math.isfinite(drop):
        return f"its {leading.name} on validation cannot be compared with {parent}'s: one of them is not a number"
    falls = "lower" if leading.direction is Direction.HIGHER else "higher"
    return (
        f"{leading.name} is {score_text(drop, beside=max_drop)} {falls} than {parent}'s on validation, "
        f"more than compression.maxDrop {max_drop:g}"
    )


def _standing(drop: float, leading: Metric, parent: str) -> str:
    if drop == 0:
        return f"the same {leading.name} as {parent} on validation"
    size, word = score_text(abs(drop), beside=0.0), "worse" if drop > 0 else "better"
    return f"{leading.name} is {size} {word} than {parent}'s on validation, within compression.maxDrop"


def _for_it(clearing: int, eligible: int, prefer: Preference) -> str:
    if clearing == 1:
        return "the only variant that is good enough on validation"
    if clearing:
        return (
            f"{_SUPERLATIVE[prefer]} of {count_text(clearing, 'variant')} that are good enough on validation"
        )
    if eligible == 1:
        return "it misses a bar on validation, but no other variant is left; the gate decides on test"
    return "every variant misses a bar on validation; this is the most accurate one, and the gate decides on test"


def _misses(gate: Gate, candidate: Candidate) -> str:
    bar, word = (gate.min, "at least") if gate.min is not None else (gate.max, "at most")
    assert bar is not None
    return f"{gate.metric} {score_text(candidate.metrics[gate.metric], beside=bar)} is not {word} {bar:g}"


def _against_it(candidate: Candidate, chosen: Candidate, order: Preference, leading: Metric) -> str:
    if _rank(candidate, order, leading) != _rank(chosen, order, leading):
        return _better(candidate, chosen, order, leading)
    if candidate.bytes != chosen.bytes:
        return f"otherwise equal, {_better(candidate, chosen, Preference.SMALLEST, leading)}"
    return f"equal to {chosen.name}, which comes first by name"


def _better(candidate: Candidate, chosen: Candidate, order: Preference, leading: Metric) -> str:
    match order:
        case Preference.SMALLEST:
            return f"{chosen.name} is smaller ({chosen.bytes / 1e6:.1f} MB against {candidate.bytes / 1e6:.1f} MB)"
        case Preference.FASTEST:
            return (
                f"{chosen.name} is faster ({chosen.latency_ms:.2f} ms against {candidate.latency_ms:.2f} ms)"
            )
        case Preference.MOST_ACCURATE:
            theirs, ours = chosen.metrics[leading.name], candidate.metrics[leading.name]
            numbers = f"{score_text(theirs, beside=ours)} against {score_text(ours, beside=theirs)}"
            return f"{chosen.name} is more accurate ({leading.name} {numbers})"
