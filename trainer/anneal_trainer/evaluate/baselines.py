"""Simple models on the same rows: what fine-tuning has to beat.

* The majority class knows nothing but the labels' shares. A model that is not above it has learned nothing.
* TF-IDF with logistic regression knows which words go with which label, and nothing of their order. It trains in
  seconds; what a fine-tuned model is worth is what it is above this.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable, Sequence

import numpy as np
from numpy.typing import NDArray
from sklearn.exceptions import ConvergenceWarning
from sklearn.feature_extraction.text import TfidfVectorizer
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline

from anneal_api.metrics import CLASSIFICATION_METRICS
from anneal_api.report import Baseline
from anneal_trainer.data.rows import Rows
from anneal_trainer.evaluate.intervals import score_interval
from anneal_trainer.evaluate.metrics import classification_metrics

MOST_FEATURES = 100_000
"""Most words and pairs of words that TF-IDF looks at; the most frequent ones."""

MOST_ITERATIONS = 300
"""Steps after which logistic regression stops, converged or not."""

_WORDS_AND_SIGNS = r"(?u)\w+|[^\w\s]"
_LEAST_PROBABILITY = 1e-9
_SEED = 0

LogProbabilities = Callable[[Rows], NDArray[np.float64]]
"""A fitted baseline: the logarithm of each label's probability, [rows, labels]."""


def baselines(train: Rows, validation: Rows, test: Rows, labels: Sequence[str]) -> list[Baseline]:
    """Fits the simple models on the training rows and scores them on the others.

    Args:
        train: Rows to fit on. A label that has none here is never an answer.
        validation: Rows to score on.
        test: Rows to score on.
        labels: All labels of all rows, in the order of the tuned model's outputs.

    Returns:
        The majority class, and TF-IDF with logistic regression where the training rows have two labels or more.
    """
    fitted = [_majority_class(train, labels)]
    if len(set(train.labels)) > 1:
        fitted.append(_words_with_logistic_regression(train, labels))
    return [
        Baseline(
            name=name,
            description=description,
            validation=classification_metrics(answer(validation), _positions(validation, labels)),
            test=classification_metrics(answer(test), _positions(test, labels)),
            intervals=_intervals(answer(test), _positions(test, labels)),
        )
        for name, description, answer in fitted
    ]


def _majority_class(train: Rows, labels: Sequence[str]) -> tuple[str, str, LogProbabilities]:
    shares = np.bincount(_positions(train, labels), minlength=len(labels)) / len(train)
    logs = np.log(np.maximum(shares, _LEAST_PROBABILITY))
    most_frequent = labels[int(shares.argmax())]
    return (
        "majority class",
        f"always answers '{most_frequent}', the most frequent training label ({shares.max():.1%} of the rows)",
        lambda rows: np.tile(logs, (len(rows), 1)),
    )


def _words_with_logistic_regression(train: Rows, labels: Sequence[str]) -> tuple[str, str, LogProbabilities]:
    model = make_pipeline(
        TfidfVectorizer(
            ngram_range=(1, 2),
            sublinear_tf=True,
            max_features=MOST_FEATURES,
            token_pattern=_WORDS_AND_SIGNS,
            dtype=np.float32,
        ),
        LogisticRegression(C=10.0, max_iter=MOST_ITERATIONS, random_state=_SEED),
    )
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always", ConvergenceWarning)
        model.fit(train.texts, _positions(train, labels))
    unfinished = any(issubclass(warning.category, ConvergenceWarning) for warning in caught)

    def answer(rows: Rows) -> NDArray[np.float64]:
        probabilities = np.zeros((len(rows), len(labels)))
        probabilities[:, model.classes_] = model.predict_proba(rows.texts)
        logs: NDArray[np.float64] = np.log(np.maximum(probabilities, _LEAST_PROBABILITY))
        return logs

    description = "words and pairs of words, weighted by TF-IDF, in a linear classifier (scikit-learn)"
    if unfinished:
        description += f"; stopped before it converged, after {MOST_ITERATIONS} iterations"
    return "TF-IDF + logistic regression", description, answer


def _intervals(logits: NDArray[np.float64], gold: NDArray[np.int64]) -> dict[str, tuple[float, float]]:
    return {name: score_interval(name, logits, gold, seed=_SEED) for name in CLASSIFICATION_METRICS}


def _positions(rows: Rows, labels: Sequence[str]) -> NDArray[np.int64]:
    position = {label: index for index, label in enumerate(labels)}
    return np.array([position[label] for label in rows.labels], dtype=np.int64)
