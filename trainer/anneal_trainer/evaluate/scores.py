"""How one model does on one set of rows: everything that the report shows of it."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from anneal_api.report import ClassificationScores, ClassScore, WrongAnswer
from anneal_trainer.data.rows import Rows
from anneal_trainer.evaluate.calibration import calibration_bins
from anneal_trainer.evaluate.intervals import score_interval
from anneal_trainer.evaluate.metrics import (
    Answers,
    are_scorable,
    classification_metrics,
    confusion_matrix,
    label_scores,
)

WORST = 25
"""Wrong answers to show."""


def score(
    logits: NDArray[np.float32],
    gold: NDArray[np.integer],
    *,
    labels: Sequence[str],
    shown: Sequence[str],
    rows: Rows,
    private: bool,
    seed: int = 0,
) -> ClassificationScores:
    """Scores a model's outputs.

    A row with an output that is not a finite number has no answer. One such row leaves every metric NaN and
    without an interval; tables and bins are then over the other rows.

    Args:
        logits: The outputs, [rows, labels].
        gold: Position of each row's right label, [rows].
        labels: Label of each output.
        shown: Metrics that get an interval.
        rows: Texts and sources of the rows, in the same order.
        private: Leave the texts of wrong answers out.
        seed: Seed of the bootstrap behind the intervals.
    """
    answered = np.flatnonzero(np.isfinite(logits).all(axis=1))
    answers = Answers.of(logits[answered], gold[answered])
    with_interval = shown if are_scorable(logits) else ()
    return ClassificationScores.model_validate(
        {
            "rows": len(gold),
            "metrics": classification_metrics(logits, gold),
            "intervals": {name: score_interval(name, logits, gold, seed=seed) for name in with_interval},
            "per_class": _class_scores(answers, labels),
            "confusion": confusion_matrix(answers).tolist(),
            "calibration": calibration_bins(answers.confidence, answers.right),
            "worst": _worst(answers, labels, rows.select(answered), private=private),
        },
        by_name=True,
    )


def _class_scores(answers: Answers, labels: Sequence[str]) -> list[ClassScore]:
    each = label_scores(answers, np.ones(len(answers.gold)))
    return [
        ClassScore(
            label=label,
            precision=float(each.precision[index]),
            recall=float(each.recall[index]),
            f1=float(each.f1[index]),
            support=int(each.support[index]),
        )
        for index, label in enumerate(labels)
    ]


def _worst(answers: Answers, labels: Sequence[str], rows: Rows, *, private: bool) -> list[WrongAnswer]:
    """Returns the wrong answers, the surest first; equally sure ones in the order of the rows."""
    wrong = np.flatnonzero(~answers.right)
    surest_first = wrong[np.argsort(-answers.confidence[wrong], kind="stable")]
    return [
        WrongAnswer.model_validate(
            {
                "text": "" if private else rows.texts[row],
                "source": rows.sources[row],
                "expected": labels[answers.gold[row]],
                "predicted": labels[answers.predicted[row]],
                "confidence": float(answers.confidence[row]),
                "expected_probability": float(np.exp(-answers.loss[row])),
            },
            by_name=True,
        )
        for row in surest_first[:WORST]
    ]
