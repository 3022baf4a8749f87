"""The metrics are scikit-learn's, on any rows."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from sklearn import metrics as sklearn_metrics

from anneal_api.metrics import CLASSIFICATION_METRICS
from anneal_trainer.evaluate.calibration import BINS, calibration_bins
from anneal_trainer.evaluate.metrics import (
    Answers,
    classification_metrics,
    confusion_matrix,
    label_scores,
    weighted_score,
)


@st.composite
def outputs(draw: st.DrawFn) -> tuple[NDArray[np.float32], NDArray[np.int64]]:
    """Logits and right labels: 2 to 7 labels, 1 to 60 rows, often with labels that have no rows or no answers."""
    labels, rows = draw(st.integers(2, 7)), draw(st.integers(1, 60))
    chance = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))
    used = draw(st.integers(1, labels))
    gold = chance.integers(0, used, rows)
    logits = chance.normal(scale=draw(st.sampled_from([0.1, 2.0, 20.0])), size=(rows, labels))
    logits[np.arange(rows), gold] += draw(st.sampled_from([0.0, 3.0]))
    return logits.astype(np.float32), gold


def softmax(logits: NDArray[np.float32]) -> NDArray[np.float64]:
    exponentials = np.exp(logits.astype(np.float64) - logits.max(axis=1, keepdims=True))
    return exponentials / exponentials.sum(axis=1, keepdims=True)


def by_sklearn(
    logits: NDArray[np.float32], gold: NDArray[np.int64], weights: NDArray[np.float64]
) -> dict[str, float]:
    every = list(range(logits.shape[1]))
    predicted = logits.argmax(axis=1)
    found = {"accuracy": sklearn_metrics.accuracy_score(gold, predicted, sample_weight=weights)}
    for average, suffix in (("macro", ""), ("micro", "_micro"), ("weighted", "_weighted")):
        precision, recover, f1, _ = sklearn_metrics.precision_recall_fscore_support(
            gold, predicted, labels=every, average=average, zero_division=0, sample_weight=weights
        )
        found |= {f"precision{suffix}": precision, f"recall{suffix}": recover, f"f1{suffix}": f1}
    probabilities = softmax(logits)
    found["log_loss"] = sklearn_metrics.log_loss(gold, probabilities, labels=every, sample_weight=weights)
    return found


@settings(deadline=None, max_examples=100)
@given(outputs())
def test_every_metric_equals_scikit_learns(
    given_outputs: tuple[NDArray[np.float32], NDArray[np.int64]],
) -> None:
    logits, gold = given_outputs
    ours = classification_metrics(logits, gold)
    theirs = by_sklearn(logits, gold, np.ones(len(gold)))
    assert set(ours) == set(CLASSIFICATION_METRICS)
    for name in set(ours) - {"ece", "log_loss"}:
        assert ours[name] == pytest.approx(theirs[name], abs=1e-12), name
    # scikit-learn clips probabilities, so a sure and wrong answer costs it less.
    if np.exp(-Answers.of(logits, gold).loss).min() > 1e-12:
        assert ours["log_loss"] == pytest.approx(theirs["log_loss"], rel=1e-9)


@settings(deadline=None, max_examples=15)
@given(outputs(), st.integers(0, 2**32 - 1))
def test_weights_mean_what_sample_weight_means_in_scikit_learn(
    given_outputs: tuple[NDArray[np.float32], NDArray[np.int64]], seed: int
) -> None:
    logits, gold = given_outputs
    weights = np.random.default_rng(seed).integers(0, 4, size=(3, len(gold))).astype(float)
    weights[:, 0] += 1
    answers = Answers.of(logits, gold)
    for name in ("accuracy", "f1", "precision", "recall", "f1_weighted"):
        ours = weighted_score(name, answers, weights)
        theirs = [by_sklearn(logits, gold, line)[name] for line in weights]
        assert ours == pytest.approx(theirs, abs=1e-12), name


@settings(deadline=None, max_examples=50)
@given(outputs(), st.randoms(use_true_random=False))
def test_the_order_of_the_rows_does_not_matter(
    given_outputs: tuple[NDArray[np.float32], NDArray[np.int64]], chance: object
) -> None:
    logits, gold = given_outputs
    order = list(range(len(gold)))
    chance.shuffle(order)  # type: ignore[attr-defined]
    assert classification_metrics(logits[order], gold[order]) == pytest.approx(
        classification_metrics(logits, gold), abs=1e-12
    )


@settings(deadline=None, max_examples=50)
@given(outputs())
def test_calibration_error_is_the_mean_gap_of_the_bins(
    given_outputs: tuple[NDArray[np.float32], NDArray[np.int64]],
) -> None:
    logits, gold = given_outputs
    confidence = softmax(logits).max(axis=1)
    bins = calibration_bins(confidence, logits.argmax(axis=1) == gold)
    assert sum(each.rows for each in bins) == len(gold)
    assert all(each.rows and each.lower <= each.confidence <= each.upper + 1e-12 for each in bins)
    gap = sum(each.rows * abs(each.confidence - each.accuracy) for each in bins) / len(gold)
    assert classification_metrics(logits, gold)["ece"] == pytest.approx(gap, abs=1e-9)


def test_calibration_bins_have_equal_width_and_are_closed_above() -> None:
    edges = [number / BINS for number in range(8, BINS + 1)]
    bins = calibration_bins(np.array(edges), np.ones(len(edges), dtype=bool))
    assert [each.upper for each in bins] == pytest.approx(edges)
    assert [each.rows for each in bins] == [1] * len(edges)


def test_an_overconfident_model_has_its_error_in_one_bin() -> None:
    logits = np.tile(np.array([[0.0, math.log(9)]], dtype=np.float32), (10, 1))  # 90 % sure of label 1
    gold = np.array([1] * 6 + [0] * 4)
    assert classification_metrics(logits, gold)["ece"] == pytest.approx(0.3, abs=1e-6)


def test_confusion_has_right_labels_in_rows_and_answers_in_columns() -> None:
    logits = np.eye(3, dtype=np.float32)[[0, 1, 1, 2]]
    gold = np.array([0, 0, 1, 2])
    assert confusion_matrix(Answers.of(logits, gold)).tolist() == [[1, 1, 0], [0, 1, 0], [0, 0, 1]]


def test_a_macro_mean_runs_over_labels_without_rows() -> None:
    logits = np.eye(3, dtype=np.float32)[[0, 1]]
    assert classification_metrics(logits, np.array([0, 1]))["f1"] == pytest.approx(2 / 3)


def test_answers_that_the_data_does_not_know_are_wrong_and_no_label_of_their_own() -> None:
    logits = np.eye(3, dtype=np.float32)[[0, 1, 2, 2]]
    gold = np.array([0, 1, 0, 1])
    scores = classification_metrics(logits, gold, labels=2)
    assert scores["accuracy"] == 0.5
    assert scores["precision"] == 1.0
    assert scores["recall"] == 0.5
    assert scores["f1"] == pytest.approx(2 / 3)
    each = label_scores(Answers.of(logits, gold, labels=2), np.ones(4))
    assert each.support.tolist() == [2, 2]


def test_log_loss_survives_sure_and_wrong_answers() -> None:
    logits = np.array([[1e4, -1e4]], dtype=np.float32)
    assert classification_metrics(logits, np.array([1]))["log_loss"] == pytest.approx(2e4)


@pytest.mark.parametrize("broken", [math.nan, math.inf, -math.inf])
def test_one_output_that_is_no_number_leaves_no_score(broken: float) -> None:
    logits = np.zeros((100, 2), dtype=np.float32)
    logits[17, 1] = broken
    assert all(
        math.isnan(value) for value in classification_metrics(logits, np.zeros(100, dtype=int)).values()
    )


def test_no_rows_have_no_score() -> None:
    scores = classification_metrics(np.zeros((0, 2), dtype=np.float32), np.zeros(0, dtype=int))
    assert all(math.isnan(value) for value in scores.values())
