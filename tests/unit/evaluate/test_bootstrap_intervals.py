"""Intervals say how much chance there is in a score."""

from __future__ import annotations

import time

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from anneal_api.metrics import CLASSIFICATION_METRICS
from anneal_trainer.evaluate.intervals import paired_interval, score_interval
from anneal_trainer.evaluate.metrics import classification_metrics

ANY_METRIC = st.sampled_from(list(CLASSIFICATION_METRICS))


def two_models(
    seed: int, rows: int, labels: int, skill: float = 2.0
) -> tuple[NDArray[np.float32], NDArray[np.float32], NDArray[np.int64]]:
    """Logits of two models that are alike, and the right labels."""
    chance = np.random.default_rng(seed)
    gold = chance.integers(0, labels, rows)
    shared = chance.normal(size=(rows, labels))
    shared[np.arange(rows), gold] += skill
    first, second = (shared + chance.normal(size=shared.shape) for _ in range(2))
    return first.astype(np.float32), second.astype(np.float32), gold


@settings(deadline=None, max_examples=40)
@given(ANY_METRIC, st.integers(0, 10_000), st.integers(100, 400), st.integers(2, 5))
def test_the_interval_of_a_difference_has_the_difference_inside(
    metric: str, seed: int, rows: int, labels: int
) -> None:
    ours, theirs, gold = two_models(seed, rows, labels)
    difference = classification_metrics(ours, gold)[metric] - classification_metrics(theirs, gold)[metric]
    low, high = paired_interval(metric, ours, theirs, gold, resamples=400)
    # The bootstrap of a calibration error is biased upwards in both models, which nearly cancels.
    slack = 0.01 if metric == "ece" else 1e-12
    assert low - slack <= difference <= high + slack


@settings(deadline=None, max_examples=30)
@given(ANY_METRIC, st.integers(0, 10_000))
def test_turning_the_models_around_turns_the_interval_around(metric: str, seed: int) -> None:
    ours, theirs, gold = two_models(seed, rows=120, labels=3)
    low, high = paired_interval(metric, ours, theirs, gold, resamples=1500)
    other_low, other_high = paired_interval(metric, theirs, ours, gold, resamples=1500)
    width = high - low
    assert other_low == pytest.approx(-high, abs=0.25 * width + 1e-9)
    assert other_high == pytest.approx(-low, abs=0.25 * width + 1e-9)


@pytest.mark.parametrize("metric", ["accuracy", "f1", "f1_weighted"])
def test_the_order_of_the_rows_changes_no_interval(metric: str) -> None:
    ours, theirs, gold = two_models(3, rows=300, labels=4)
    order = np.random.default_rng(5).permutation(300)
    assert paired_interval(metric, ours[order], theirs[order], gold[order]) == pytest.approx(
        paired_interval(metric, ours, theirs, gold)
    )


@pytest.mark.parametrize("metric", list(CLASSIFICATION_METRICS))
def test_equal_models_differ_by_nothing(metric: str) -> None:
    ours, _, gold = two_models(1, rows=80, labels=3)
    assert paired_interval(metric, ours, ours, gold) == (0.0, 0.0)


def test_the_interval_of_accuracy_is_that_of_a_share() -> None:
    rows, share = 1000, 0.9
    right = np.arange(rows) < share * rows
    logits = np.stack([right, ~right], axis=1).astype(np.float32)
    low, high = score_interval("accuracy", logits, np.zeros(rows, dtype=int), resamples=4000)
    half = 1.96 * np.sqrt(share * (1 - share) / rows)
    assert (low, high) == pytest.approx((share - half, share + half), abs=0.002)


@pytest.mark.parametrize("metric", ["accuracy", "f1", "log_loss"])
def test_the_same_resamples_by_rows_and_by_kinds_of_rows(metric: str) -> None:
    """What is drawn by kinds of rows has the spread of a plain bootstrap that draws row by row."""
    ours, theirs, gold = two_models(2, rows=150, labels=3)
    chance = np.random.default_rng(0)
    plain = []
    for _ in range(1500):
        drawn = chance.integers(0, 150, 150)
        scores = [classification_metrics(logits[drawn], gold[drawn])[metric] for logits in (ours, theirs)]
        plain.append(scores[0] - scores[1])
    low, high = np.quantile(plain, [0.025, 0.975])
    expected = pytest.approx((low, high), abs=0.12 * (high - low))
    assert paired_interval(metric, ours, theirs, gold, resamples=4000) == expected


def test_nineteen_of_twenty_intervals_have_the_truth_inside() -> None:
    """Two models that are equally good in truth: the interval has 0 inside about 95 times of 100."""
    inside = 0
    for seed in range(200):
        ours, theirs, gold = two_models(seed, rows=200, labels=2)
        low, high = paired_interval("accuracy", ours, theirs, gold, resamples=500)
        inside += low <= 0 <= high
    assert 180 <= inside <= 199


def test_a_pair_is_told_apart_where_two_single_intervals_overlap() -> None:
    ours, _, gold = two_models(7, rows=2000, labels=2, skill=1.0)
    worse = ours.copy()
    right = np.flatnonzero(ours.argmax(axis=1) == gold)[:25]
    worse[right] = -worse[right]
    assert score_interval("accuracy", ours, gold)[0] < score_interval("accuracy", worse, gold)[1]
    assert paired_interval("accuracy", ours, worse, gold)[0] > 0


def test_a_seed_gives_the_same_interval_again() -> None:
    ours, theirs, gold = two_models(4, rows=100, labels=2)
    first = paired_interval("log_loss", ours, theirs, gold, seed=1)
    assert paired_interval("log_loss", ours, theirs, gold, seed=1) == first
    assert paired_interval("log_loss", ours, theirs, gold, seed=2) != first


@pytest.mark.parametrize("metric", ["f1", "log_loss", "ece"])
@pytest.mark.parametrize("labels", [2, 20])
def test_two_thousand_rows_take_well_under_two_seconds(metric: str, labels: int) -> None:
    ours, theirs, gold = two_models(0, rows=2000, labels=labels)
    started = time.process_time()
    paired_interval(metric, ours, theirs, gold)
    assert time.process_time() - started < 2
