"""How much chance there is in a score: the percentile bootstrap over rows, paired for two models.

The rows are resampled with replacement, the metric is computed on each resample, and the middle 95 % of
the values are the interval (Efron and Tibshirani, "An Introduction to the Bootstrap", 1993, chapter 13).
Two models that answered the same rows are resampled together: most of what chance did to the rows it did to
both, and only what is left is in the difference (Koehn, "Statistical Significance Tests for Machine
Translation Evaluation", EMNLP 2004).
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np
from numpy.typing import NDArray

from anneal_trainer.evaluate.metrics import Answers, weighted_score

LEVEL = 0.95
"""Share of the resamples inside an interval."""

_USES_PROBABILITIES = frozenset({"log_loss", "ece"})
_CELLS_AT_ONCE = 2_000_000


def score_interval(
    metric: str,
    logits: NDArray[np.floating],
    gold: NDArray[np.integer],
    *,
    resamples: int = 1000,
    seed: int = 0,
) -> tuple[float, float]:
    """Returns the 95 % interval of a model's score, low end first.

    Args:
        metric: Name of the metric.
        logits: The model's outputs, finite, [rows, labels], at least one row.
        gold: Position of each row's right label, [rows].
        resamples: Bootstrap resamples.
        seed: Seed of the resampling.
    """
    (scores,) = _resampled(metric, [Answers.of(logits, gold)], resamples, seed)
    return _middle(scores)


def paired_interval(
    metric: str,
    candidate: NDArray[np.floating],
    reference: NDArray[np.floating],
    gold: NDArray[np.integer],
    *,
    resamples: int = 2000,
    seed: int = 0,
) -> tuple[float, float]:
    """Returns the 95 % interval of candidate minus reference on the same rows, low end first.

    Args:
        metric: Name of the metric.
        candidate: The candidate's outputs, finite, [rows, labels], at least one row.
        reference: The reference's outputs, finite, [rows, labels or more]; the outputs beyond the
            candidate's labels are answers that are never right.
        gold: Position of each row's right label, [rows].
        resamples: Bootstrap resamples.
        seed: Seed of the resampling.
    """
    labels = candidate.shape[1]
    models = [Answers.of(logits, gold, labels=labels) for logits in (candidate, reference)]
    ours, theirs = _resampled(metric, models, resamples, seed)
    return _middle(ours - theirs)


def _middle(values: NDArray[np.float64]) -> tuple[float, float]:
    low, high = np.quantile(values, [(1 - LEVEL) / 2, (1 + LEVEL) / 2])
    return float(low), float(high)


def _resampled(
    metric: str, models: Sequence[Answers], resamples: int, seed: int
) -> list[NDArray[np.float64]]:
    """Returns each model's scores, [resamples], over the same resamples of the rows."""
    sizes = np.ones(len(models[0].gold), dtype=np.int64)
    if metric not in _USES_PROBABILITIES:
        models, sizes = _interchangeable(models)
    drawn = [
        [weighted_score(metric, model, counts) for model in models]
        for counts in _resample_counts(sizes, resamples, np.random.default_rng(seed))
    ]
    return [np.concatenate(scores) for scores in zip(*drawn, strict=True)]


def _interchangeable(models: Sequence[Answers]) -> tuple[list[Answers], NDArray[np.int64]]:
    """Returns one row of each kind, and how many rows there are of it.

    Rows with the same right label and the same answers do the same to every metric that looks at labels
    only. There are few kinds, so resampling them costs as much for a million rows as for a thousand.
    """
    columns = np.stack([models[0].gold, *(model.predicted for model in models)])
    _, first, sizes = np.unique(columns, axis=1, return_index=True, return_counts=True)
    return [model.select(first) for model in models], sizes


def _resample_counts(
    sizes: NDArray[np.int64], resamples: int, random: np.random.Generator
) -> Iterator[NDArray[np.float64]]:
    """Yields how often each kind of row is drawn, [some resamples, kinds], in pieces that fit in memory."""
    kinds, rows = len(sizes), int(sizes.sum())
    most = max(1, _CELLS_AT_ONCE // kinds)
    for start in range(0, resamples, most):
        number = min(most, resamples - start)
        if kinds < rows:
            counts = random.multinomial(rows, sizes / rows, size=number)
        else:  # the same distribution, faster where every row is a kind of its own
            drawn = random.integers(0, rows, size=(number, rows)) + rows * np.arange(number)[:, None]
            counts = np.bincount(drawn.ravel(), minlength=number * rows).reshape(number, rows)
        yield counts.astype(np.float64)
