"""The metrics of classification, computed from logits.

Every metric is a function of weighted rows. Weights of one give the score; the counts of a bootstrap resample
give the score of that resample. So an interval can never be of another definition than its score.

Definitions are scikit-learn's over all labels of the data, with `zero_division=0`: a label without rows or
without predictions counts 0 in a macro mean. `ece` is the expected calibration error of Guo et al.,
arXiv 1706.04599.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Self

import numpy as np
from numpy.typing import NDArray

from anneal_api.metrics import CLASSIFICATION_METRICS
from anneal_trainer.evaluate.calibration import BINS, bin_of


@dataclass(frozen=True, slots=True)
class Answers:
    """What the metrics need of a model's outputs, row by row.

    Attributes:
        labels: Number of labels of the data.
        gold: Position of the right label, below `labels`, [rows].
        predicted: Position of the answer, [rows]. From `labels` on it is one that the data does not know.
        confidence: Probability of the answer, [rows].
        loss: Negative log-likelihood of the right label, in nats, [rows].
    """

    labels: int
    gold: NDArray[np.int64]
    predicted: NDArray[np.int64]
    confidence: NDArray[np.float64]
    loss: NDArray[np.float64]

    @classmethod
    def of(
        cls, logits: NDArray[np.floating], gold: NDArray[np.integer], *, labels: int | None = None
    ) -> Self:
        """Returns the answers in logits.

        Args:
            logits: Finite outputs, [rows, outputs].
            gold: Position of each row's right label, [rows].
            labels: Number of labels of the data; the outputs beyond are answers that are never right.
                Absent: every output is a label.
        """
        logs = log_softmax(logits)
        rows = np.arange(len(gold))
        predicted = logits.argmax(axis=1)
        return cls(
            labels=logits.shape[1] if labels is None else labels,
            gold=gold.astype(np.int64),
            predicted=predicted.astype(np.int64),
            confidence=np.exp(logs[rows, predicted]),
            loss=-logs[rows, gold],
        )

    @property
    def right(self) -> NDArray[np.bool_]:
        """Whether each answer is right, [rows]."""
        right: NDArray[np.bool_] = self.predicted == self.gold
        return right

    def select(self, indices: NDArray[np.integer]) -> Answers:
        """Returns the answers for the rows at the given positions."""
        return Answers(
            self.labels,
            self.gold[indices],
            self.predicted[indices],
            self.confidence[indices],
            self.loss[indices],
        )


@dataclass(frozen=True, slots=True)
class LabelScores:
    """Scores of each label against the rest; the last axis of every array is the labels."""

    precision: NDArray[np.float64]
    recall: NDArray[np.float64]
    f1: NDArray[np.float64]
    support: NDArray[np.float64]


def log_softmax(logits: NDArray[np.floating]) -> NDArray[np.float64]:
    """Returns the logarithms of the probabilities, [rows, labels], in float64 and without underflow."""
    wide = logits.astype(np.float64)
    shifted = wide - wide.max(axis=1, keepdims=True)
    logs: NDArray[np.float64] = shifted - np.log(np.exp(shifted).sum(axis=1, keepdims=True))
    return logs


def are_scorable(logits: NDArray[np.floating]) -> bool:
    """Returns whether there are rows and every output is a finite number; else no metric has a value."""
    return len(logits) > 0 and bool(np.isfinite(logits).all())


def classification_metrics(
    logits: NDArray[np.floating], gold: NDArray[np.integer], *, labels: int | None = None
) -> dict[str, float]:
    """Returns every metric of `anneal_api.metrics.CLASSIFICATION_METRICS`.

    All are NaN where there are no rows or an output is not a finite number: a broken model has no score,
    however few the rows on which it shows.

    Args:
        logits: The model's outputs, [rows, outputs].
        gold: Position of each row's right label, [rows].
        labels: Number of labels of the data, which macro means run over; the outputs beyond are answers that
            are never right. Absent: every output is a label.
    """
    if not are_scorable(logits):
        return dict.fromkeys(CLASSIFICATION_METRICS, float("nan"))
    answers = Answers.of(logits, gold, labels=labels)
    every_row_once = np.ones(len(gold))
    return {name: float(weighted_score(name, answers, every_row_once)) for name in CLASSIFICATION_METRICS}


def weighted_score(metric: str, answers: Answers, weights: NDArray[np.floating]) -> NDArray[np.float64]:
    """Returns a metric over weighted rows.

    Args:
        metric: Its name.
        answers: The answers for the rows.
        weights: How often each row counts, [..., rows].

    Returns:
        One value for each line of weights, [...].
    """
    return _METRICS[metric](answers, weights)


def label_scores(answers: Answers, weights: NDArray[np.floating]) -> LabelScores:
    """Returns precision, recall, F1 and support of each label, [..., labels], for weights [..., rows]."""
    hits = _sum_by(answers.gold, weights * answers.right, answers.labels)
    support = _sum_by(answers.gold, weights, answers.labels)
    # Answers that the data does not know miss their row, and are no prediction of any label.
    known = np.minimum(answers.predicted, answers.labels)
    predicted = _sum_by(known, weights, answers.labels + 1)[..., :-1]
    return LabelScores(
        precision=_share(hits, predicted),
        recall=_share(hits, support),
        f1=_share(2 * hits, predicted + support),
        support=support,
    )


def confusion_matrix(answers: Answers) -> NDArray[np.int64]:
    """Returns the rows per right label (first axis) and predicted label (second axis), [labels, labels]."""
    confusion = np.zeros((answers.labels, answers.labels), dtype=np.int64)
    np.add.at(confusion, (answers.gold, answers.predicted), 1)
    return confusion


def _accuracy(answers: Answers, weights: NDArray[np.floating]) -> NDArray[np.float64]:
    return _share(weights @ answers.right.astype(np.float64), weights.sum(axis=-1))


def _macro_f1(answers: Answers, weights: NDArray[np.floating]) -> NDArray[np.float64]:
    return np.asarray(label_scores(answers, weights).f1.mean(axis=-1))


def _macro_precision(answers: Answers, weights: NDArray[np.floating]) -> NDArray[np.float64]:
    return np.asarray(label_scores(answers, weights).precision.mean(axis=-1))


def _macro_recall(answers: Answers, weights: NDArray[np.floating]) -> NDArray[np.float64]:
    return np.asarray(label_scores(answers, weights).recall.mean(axis=-1))


def _weighted_f1(answers: Answers, weights: NDArray[np.floating]) -> NDArray[np.float64]:
    each = label_scores(answers, weights)
    return _share((each.f1 * each.support).sum(axis=-1), weights.sum(axis=-1))


def _log_loss(answers: Answers, weights: NDArray[np.floating]) -> NDArray[np.float64]:
    return _share(weights @ answers.loss, weights.sum(axis=-1))


def _calibration_error(answers: Answers, weights: NDArray[np.floating]) -> NDArray[np.float64]:
    gaps = _sum_by(bin_of(answers.confidence), weights * (answers.confidence - answers.right), BINS)
    return _share(np.abs(gaps).sum(axis=-1), weights.sum(axis=-1))


_METRICS: Mapping[str, Callable[[Answers, NDArray[np.floating]], NDArray[np.float64]]] = {
    "accuracy": _accuracy,
    "f1": _macro_f1,
    "precision": _macro_precision,
    "recall": _macro_recall,
    # With one answer a row, a wrong one is one false positive and one false negative: all are accuracy.
    "f1_micro": _accuracy,
    "precision_micro": _accuracy,
    "recall_micro": _accuracy,
    "f1_weighted": _weighted_f1,
    "log_loss": _log_loss,
    "ece": _calibration_error,
}


def _sum_by(groups: NDArray[np.int64], values: NDArray[np.floating], number: int) -> NDArray[np.float64]:
    """Returns the sums of values [..., rows] over the rows of each group, [..., number]."""
    lines = values.reshape(math.prod(values.shape[:-1]), len(groups))
    cells = groups + number * np.arange(len(lines))[:, None]
    sums = np.bincount(cells.ravel(), weights=lines.ravel(), minlength=number * len(lines))
    by_group: NDArray[np.float64] = sums.reshape(*values.shape[:-1], number).astype(np.float64)
    return by_group


def _share(part: NDArray[np.floating], whole: NDArray[np.floating]) -> NDArray[np.float64]:
    """Returns part / whole, and 0 where the whole is 0."""
    part, whole = np.asarray(part, dtype=np.float64), np.asarray(whole, dtype=np.float64)
    shares: NDArray[np.float64] = np.divide(part, whole, out=np.zeros_like(part), where=whole > 0)
    return shares
