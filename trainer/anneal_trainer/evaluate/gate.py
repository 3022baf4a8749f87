"""The gate: whether the selected variant may be published. Pure, and read once, on the test rows.

Verdicts are by the scores themselves; the 95 % intervals beside them say how much chance there is in a difference.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from anneal_api.metrics import Direction, Metric
from anneal_api.report import GateReport, GateRow, Verdict
from anneal_api.spec.evaluation import Gate
from anneal_trainer.evaluate.intervals import paired_interval, score_interval
from anneal_trainer.evaluate.metrics import classification_metrics
from anneal_trainer.evaluate.selection import TOLERANCE, clears


@dataclass(frozen=True, slots=True)
class Incumbent:
    """The version that is published now, on the candidate's test rows.

    Attributes:
        version: Its number.
        labels: Label of each of its outputs.
        logits: Its outputs, [rows, its labels].
        comparable: Which rows it did not learn from, [rows].
    """

    version: int
    labels: Sequence[str]
    logits: NDArray[np.float32]
    comparable: NDArray[np.bool_]


def read_gate(
    gates: Sequence[Gate],
    *,
    selected: str,
    logits: NDArray[np.float32],
    gold: NDArray[np.integer],
    labels: Sequence[str],
    leading: Metric,
    metrics: dict[str, Metric],
    incumbent: Incumbent | None,
) -> GateReport:
    """Reads every bar.

    Args:
        gates: The manifest's bars.
        selected: Name of the variant that is judged.
        logits: Its outputs for the test rows, [rows, labels].
        gold: Position of each row's right label, [rows].
        labels: Label of each output.
        leading: Metric that ranked the variants; compared with the incumbent for information where no bar does.
        metrics: The task's metrics by name.
        incumbent: The version to compare with, if one is published.
    """
    aligned = _align(incumbent, logits, gold, labels) if incumbent else None
    scores = classification_metrics(logits, gold)
    rows = []
    for number, gate in enumerate(gates):
        where = f"spec.evaluation.gates[{number}]"
        metric = metrics[gate.metric]
        if gate.versus_incumbent is None:
            rows.append(_absolute(gate, metric, scores[metric.name], logits, gold, where))
        else:
            rows.append(
                _relative(gate.versus_incumbent, metric, scores[metric.name], aligned, len(gold), where)
            )
    if aligned is not None and not any(gate.versus_incumbent is not None for gate in gates):
        rows.append(_for_information(leading, scores[leading.name], aligned, len(gold)))
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
    """Returns why nothing is published, a line for each bar that was not cleared."""
    return "\n".join(f"{row.where}: {row.message}" for row in report.rows if row.verdict is Verdict.FAILED)


@dataclass(frozen=True, slots=True)
class _Aligned:
    """Candidate and incumbent on the rows that the incumbent did not learn from, over the labels of both."""

    version: int
    candidate: NDArray[np.float32]
    incumbent: NDArray[np.float32]
    gold: NDArray[np.integer]
    removed: int
    unknown: list[str]

    def scores(self, metric: str) -> tuple[float, float]:
        ours = classification_metrics(self.candidate, self.gold)[metric]
        return ours, classification_metrics(self.incumbent, self.gold)[metric]

    def remarks(self) -> str:
        parts = []
        if self.removed:
            parts.append(f"{self.removed} test rows are left out, v{self.version} learned from them")
        if self.unknown:
            parts.append(
                f"v{self.version} does not know {', '.join(self.unknown)}; such rows count as its errors"
            )
        return f" ({'; '.join(parts)})" if parts else ""


_NEVER = -1e4
"""Logit of a label that a model does not have."""


def _align(
    incumbent: Incumbent, logits: NDArray[np.float32], gold: NDArray[np.integer], labels: Sequence[str]
) -> _Aligned:
    kept = incumbent.comparable
    everything = [*labels, *(label for label in incumbent.labels if label not in labels)]
    gold_names = {labels[index] for index in np.unique(gold[kept])}
    return _Aligned(
        incumbent.version,
        _spread(logits[kept], labels, everything),
        _spread(incumbent.logits[kept], incumbent.labels, everything),
        gold[kept],
        int((~kept).sum()),
        sorted(gold_names - set(incumbent.labels)),
    )


def _spread(
    logits: NDArray[np.float32], labels: Sequence[str], everything: Sequence[str]
) -> NDArray[np.float32]:
    """Returns logits over all labels; one that the model does not have is never its answer."""
    spread = np.full((len(logits), len(everything)), _NEVER, dtype=np.float32)
    spread[:, [everything.index(label) for label in labels]] = logits
    return spread


def _absolute(
    gate: Gate,
    metric: Metric,
    score: float,
    logits: NDArray[np.float32],
    gold: NDArray[np.integer],
    where: str,
) -> GateRow:
    bar, rule = (gate.min, "at least") if gate.min is not None else (gate.max, "at most")
    assert bar is not None, "validation lets no gate without a bar through"
    passed = clears(gate, score)
    interval = score_interval(metric.name, logits, gold) if np.isfinite(score) else None
    noise = ""
    if interval and interval[0] <= bar <= interval[1]:
        noise = f"; within noise, its 95 % interval is {interval[0]:.4f} to {interval[1]:.4f}"
    relation = "clears" if passed else "misses"
    return GateRow.model_validate(
        {
            "metric": metric.name,
            "direction": metric.direction,
            "rule": f"{rule} {bar:g}",
            "where": where,
            "bar": bar,
            "candidate": score,
            "incumbent": None,
            "difference": None,
            "interval": None,
            "rows": len(gold),
            "verdict": Verdict.PASSED if passed else Verdict.FAILED,
            "message": f"{metric.name} {score:.4f} {relation} the bar of {rule} {bar:g}{noise}.",
        },
        by_name=True,
    )


def _relative(
    least_gain: float, metric: Metric, score: float, aligned: _Aligned | None, rows: int, where: str
) -> GateRow:
    row = {
        "metric": metric.name,
        "direction": metric.direction,
        "where": where,
        "candidate": score,
        "bar": None,
        "incumbent": None,
        "difference": None,
        "interval": None,
        "rows": rows,
    }
    if aligned is None:
        row |= {
            "rule": _rule(least_gain, "the incumbent"),
            "verdict": Verdict.SKIPPED,
            "message": "Nothing is published yet, so there is nothing to compare with.",
        }
        return GateRow.model_validate(row, by_name=True)
    row["rule"] = _rule(least_gain, f"v{aligned.version}")
    row["rows"] = len(aligned.gold)
    if not len(aligned.gold):
        row |= {
            "verdict": Verdict.FAILED,
            "message": f"Every test row was among the rows that v{aligned.version} learned from, so nothing can be "
            "compared. Give spec.data.test rows that it never saw.",
        }
        return GateRow.model_validate(row, by_name=True)
    ours, theirs = aligned.scores(metric.name)
    passed = metric.gain(ours, theirs) >= least_gain - TOLERANCE
    low, high = paired_interval(metric.name, aligned.candidate, aligned.incumbent, aligned.gold)
    bar = theirs + least_gain if metric.direction is Direction.HIGHER else theirs - least_gain
    noise = "; within noise" if low <= bar - theirs <= high else ""
    row |= {
        "bar": bar,
        "candidate": ours,
        "incumbent": theirs,
        "difference": ours - theirs,
        "interval": (low, high),
        "verdict": Verdict.PASSED if passed else Verdict.FAILED,
        "message": f"{metric.name} {ours:.4f} {'clears' if passed else 'misses'} {bar:.4f}, "
        f"v{aligned.version}'s {theirs:.4f} {bar - theirs:+g} "
        f"(difference {ours - theirs:+.4f}, 95 % interval {low:+.4f} to {high:+.4f}{noise}){aligned.remarks()}.",
    }
    return GateRow.model_validate(row, by_name=True)


def _rule(least_gain: float, whom: str) -> str:
    if least_gain > 0:
        return f"at least {least_gain:g} better than {whom}"
    if least_gain < 0:
        return f"at most {-least_gain:g} worse than {whom}"
    return f"as good as {whom}"


def _for_information(leading: Metric, score: float, aligned: _Aligned, rows: int) -> GateRow:
    row = _relative(-1.0, leading, score, aligned, rows, "")
    message = "For information: no bar compares with the incumbent." + (aligned.remarks() or "")
    return row.model_copy(
        update={
            "rule": f"compared with v{aligned.version}",
            "bar": None,
            "verdict": Verdict.SKIPPED,
            "message": message,
        }
    )
