"""The gate: whether the selected variant may be published. Pure, and read once, on the test rows.

A verdict is by the scores themselves. The 95 % interval beside it says how much chance there is in the numbers,
and the message says so where the bar lies inside it.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

import numpy as np
from numpy.typing import NDArray

from anneal_api.metrics import Direction, Metric
from anneal_api.report import GateReport, GateRow, Verdict
from anneal_api.spec.evaluation import Gate
from anneal_trainer.evaluate.comparison import Comparison, Incumbent, Measured
from anneal_trainer.evaluate.intervals import score_interval
from anneal_trainer.evaluate.metrics import are_scorable, classification_metrics
from anneal_trainer.evaluate.selection import TOLERANCE, clears
from anneal_trainer.evaluate.sentences import count_text, difference_text, interval_text, score_text


def read_gate(
    gates: Sequence[Gate],
    *,
    selected: str,
    logits: NDArray[np.float32],
    gold: NDArray[np.integer],
    labels: Sequence[str],
    leading: Metric,
    metrics: Mapping[str, Metric],
    incumbent: Incumbent | None,
) -> GateReport:
    """Reads every bar.

    Args:
        gates: The manifest's bars: each has one of `min`, `max` and `versus_incumbent`.
        selected: Name of the variant that is judged.
        logits: Its outputs for the test rows, [rows, labels].
        gold: Position of each row's right label, [rows].
        labels: Label of each output.
        leading: Metric that ranked the variants; compared with the incumbent for information where no bar does.
        metrics: The task's metrics by name.
        incumbent: The version to compare with, if one is published.

    Returns:
        A row for each bar, in the order of the manifest, and whether all were cleared. A model without scores,
        because an output is not a finite number, is refused whatever the bars are.
    """
    scores = classification_metrics(logits, gold)
    comparison = Comparison.of(incumbent, logits, gold, labels) if incumbent else None
    rows = []
    if not are_scorable(logits):
        rows.append(_without_scores_row(leading, logits))
    for number, gate in enumerate(gates):
        metric, where = metrics[gate.metric], f"spec.evaluation.gates[{number}]"
        score = scores[metric.name]
        if gate.versus_incumbent is None:
            rows.append(_absolute_row(gate, metric, score, logits, gold, where))
        elif comparison is None:
            rows.append(_first_version_row(gate.versus_incumbent, metric, score, len(gold), where))
        else:
            rows.append(_incumbent_row(gate.versus_incumbent, metric, score, comparison, where))
    compared = {gate.metric for gate in gates if gate.versus_incumbent is not None}
    if comparison is not None and leading.name not in compared:
        rows.append(_information_row(leading, scores[leading.name], comparison))
    return GateReport.model_validate(
        {
            "selected": selected,
            "incumbent": incumbent.version if incumbent else None,
            "leading_metric": leading.name,
            "passed": all(row.verdict is not Verdict.FAILED for row in rows),
            "rows": rows,
        },
        by_name=True,
    )


def refusal(report: GateReport) -> str:
    """Returns why nothing is published: a summary, then a line for each bar that was missed."""
    failed = [row for row in report.rows if row.verdict is Verdict.FAILED]
    read = [row for row in report.rows if row.where and row.verdict is not Verdict.SKIPPED]
    stays = f" v{report.incumbent} stays the newest version." if report.incumbent else ""
    summary = f"The variant {report.selected} missed {len(failed)} of {count_text(len(read), 'bar')}.{stays}"
    return "\n".join([summary, *(f"  {row.where}: {row.message}" for row in failed)])


def _absolute_row(
    gate: Gate,
    metric: Metric,
    score: float,
    logits: NDArray[np.float32],
    gold: NDArray[np.integer],
    where: str,
) -> GateRow:
    is_floor = gate.min is not None
    bar = gate.min if gate.min is not None else gate.max
    assert bar is not None, "validation lets no other gate through"
    rule = f"{'at least' if is_floor else 'at most'} {bar:g}"
    passed = clears(gate, score)
    if math.isfinite(score):
        low, high = score_interval(metric.name, logits, gold)
        message = (
            f"{metric.name} {score_text(score, beside=bar)} is {_relation(passed, is_floor=is_floor)} {bar:g}"
        )
        if low <= bar <= high:
            message += f", within noise (95 % interval {score_text(low)} to {score_text(high)})"
    else:
        message = f"{metric.name} has no value; it must be {rule}"
    return _row(
        metric,
        where=where,
        rule=rule,
        bar=bar,
        score=score,
        rows=len(gold),
        verdict=_verdict(passed),
        message=message,
    )


def _first_version_row(least_gain: float, metric: Metric, score: float, rows: int, where: str) -> GateRow:
    return _row(
        metric,
        where=where,
        rule=_rule(least_gain, metric, "the incumbent"),
        score=score,
        rows=rows,
        verdict=Verdict.SKIPPED,
        message="nothing is published yet, so there is no incumbent to compare with",
    )


def _incumbent_row(
    least_gain: float, metric: Metric, score: float, comparison: Comparison, where: str
) -> GateRow:
    version = f"v{comparison.version}"
    rule = _rule(least_gain, metric, version)
    if not len(comparison):
        return _row(
            metric,
            where=where,
            rule=rule,
            score=score,
            rows=0,
            verdict=Verdict.FAILED,
            message=f"{_nothing_left(metric, comparison)}; give spec.data.test rows that {version} never saw",
        )
    found = comparison.measure(metric.name)
    is_floor = metric.direction is Direction.HIGHER
    margin = least_gain if is_floor else -least_gain
    bar = found.incumbent + margin
    passed = metric.gain(found.candidate, found.incumbent) >= least_gain - TOLERANCE
    message = (
        f"{metric.name} {score_text(found.candidate, beside=bar)} is {_relation(passed, is_floor=is_floor)} "
        f"the incumbent {version}'s {score_text(found.incumbent)}{_margin_text(margin)}"
        f"{_chance_text(found, margin)}{comparison.remarks()}"
    )
    if found.interval is None:
        who = "the candidate" if math.isnan(found.candidate) else f"the incumbent {version}"
        message = f"{who} has no {metric.name}: its outputs are not all finite numbers"
    return _row(
        metric,
        where=where,
        rule=rule,
        bar=bar,
        score=found.candidate,
        found=found,
        rows=len(comparison),
        verdict=_verdict(passed),
        message=message,
    )


def _information_row(leading: Metric, score: float, comparison: Comparison) -> GateRow:
    version = f"v{comparison.version}"
    found = comparison.measure(leading.name) if len(comparison) else None
    if found is None:
        message = _nothing_left(leading, comparison)
    else:
        message = (
            f"{leading.name} {score_text(found.candidate, beside=found.incumbent)} against the incumbent "
            f"{version}'s {score_text(found.incumbent, beside=found.candidate)}"
            f"{_chance_text(found, 0.0)}{comparison.remarks()}"
        )
    return _row(
        leading,
        where="",
        rule=f"compared with {version}",
        score=found.candidate if found else score,
        found=found,
        rows=len(comparison),
        verdict=Verdict.SKIPPED,
        message=f"for information, no bar asks for it: {message}",
    )


def _without_scores_row(leading: Metric, logits: NDArray[np.float32]) -> GateRow:
    broken = int((~np.isfinite(logits).all(axis=1)).sum())
    return _row(
        leading,
        where="spec.evaluation",
        rule="every output is a finite number",
        score=math.nan,
        rows=len(logits),
        verdict=Verdict.FAILED,
        message=f"the outputs for {count_text(broken, 'test row')} are not finite numbers, so nothing can be "
        "scored; train with a lower learning rate, or leave this variant out",
    )


def _row(
    metric: Metric,
    *,
    where: str,
    rule: str,
    score: float,
    rows: int,
    verdict: Verdict,
    message: str,
    bar: float | None = None,
    found: Measured | None = None,
) -> GateRow:
    return GateRow(
        metric=metric.name,
        direction=metric.direction,
        rule=rule,
        where=where,
        bar=bar,
        candidate=score,
        incumbent=found.incumbent if found else None,
        difference=found.difference if found else None,
        interval=found.interval if found else None,
        rows=rows,
        verdict=verdict,
        message=message,
    )


def _verdict(passed: bool) -> Verdict:
    return Verdict.PASSED if passed else Verdict.FAILED


def _relation(passed: bool, *, is_floor: bool) -> str:
    if is_floor:
        return "at least" if passed else "below"
    return "at most" if passed else "above"


def _rule(least_gain: float, metric: Metric, whom: str) -> str:
    """Returns a `versusIncumbent` bar in words, for example `at most 0.005 below v3`."""
    is_floor = metric.direction is Direction.HIGHER
    if least_gain == 0:
        return f"{'at least' if is_floor else 'at most'} that of {whom}"
    side = "above" if (least_gain > 0) is is_floor else "below"
    return f"{'at least' if least_gain > 0 else 'at most'} {abs(least_gain):g} {side} {whom}"


def _nothing_left(metric: Metric, comparison: Comparison) -> str:
    return (
        f"{metric.name} cannot be compared: v{comparison.version} was trained on the text of every test row "
        f"({comparison.left_out})"
    )


def _margin_text(margin: float) -> str:
    return f" {'+' if margin > 0 else '-'} {abs(margin):g}" if margin else ""


def _chance_text(found: Measured, margin: float) -> str:
    """Returns the difference with its interval, and whether the interval has the bar inside."""
    if found.interval is None:
        return " (one of the two is not a number)"
    low, high = found.interval
    noise = ", within noise" if low <= margin <= high else ""
    interval = interval_text(found.interval)
    return f" (difference {difference_text(found.difference)}, 95 % interval {interval}{noise})"
