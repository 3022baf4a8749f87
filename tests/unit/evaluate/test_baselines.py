"""Baselines: what fine-tuning has to beat."""

from __future__ import annotations

import math
import random

import pytest

from anneal_api.metrics import CLASSIFICATION_METRICS
from anneal_trainer.data.rows import Rows
from anneal_trainer.evaluate import baselines as module
from anneal_trainer.evaluate.baselines import baselines

WORDS = {
    "negative": ["bad", "dull", "awful", "boring"],
    "positive": ["good", "lovely", "great", "moving"],
    "neutral": ["fine", "so", "plain", "middling"],
}


def reviews(seed: int, **counts: int) -> Rows:
    chance = random.Random(seed)
    labels = [label for label, count in counts.items() for _ in range(count)]
    chance.shuffle(labels)
    texts = [
        " ".join([*chance.choices(WORDS[label], k=2), *chance.choices(["film", "a", "the", "!"], k=4)])
        for label in labels
    ]
    return Rows(texts, labels, [f"data.csv:{row + 1}" for row in range(len(labels))])


def test_both_baselines_are_scored_on_validation_and_test() -> None:
    found = baselines(
        reviews(0, negative=60, positive=90),
        reviews(1, negative=20, positive=30),
        reviews(2, negative=30, positive=10),
        ["negative", "positive"],
    )
    majority, words = found
    assert majority.name == "majority class"
    assert majority.validation["accuracy"] == pytest.approx(0.6)
    assert majority.test["accuracy"] == pytest.approx(0.25)
    assert "'positive'" in majority.description
    assert words.name == "TF-IDF + logistic regression"
    assert words.test["accuracy"] > 0.95
    for each in found:
        assert set(each.validation) == set(each.test) == set(each.intervals) == set(CLASSIFICATION_METRICS)
        assert all(low <= high for low, high in each.intervals.values())


def test_the_majority_classs_log_loss_is_that_of_the_shares() -> None:
    train = reviews(0, negative=25, positive=75)
    majority = baselines(train, train, train, ["negative", "positive"])[0]
    assert majority.test["log_loss"] == pytest.approx(-(0.25 * math.log(0.25) + 0.75 * math.log(0.75)))


@pytest.mark.parametrize("labels", [["negative", "neutral", "positive"], ["positive", "neutral", "negative"]])
def test_labels_that_a_split_lacks_are_no_obstacle(labels: list[str]) -> None:
    _, words = baselines(
        reviews(0, negative=40, positive=40),
        reviews(1, positive=10),
        reviews(2, negative=10, positive=10, neutral=10),
        labels,
    )
    assert words.validation["accuracy"] == 1.0
    assert words.test["accuracy"] == pytest.approx(2 / 3)
    assert math.isfinite(words.test["log_loss"])


def test_one_training_label_leaves_the_majority_class_alone() -> None:
    rows = reviews(0, positive=5)
    assert [each.name for each in baselines(rows, rows, rows, ["positive", "negative"])] == ["majority class"]


def test_signs_and_other_scripts_are_words_too() -> None:
    texts = ["映画 !", "映画 ?"] * 20
    rows = Rows(texts, ["positive", "negative"] * 20, ["data.csv:1"] * 40)
    assert baselines(rows, rows, rows, ["negative", "positive"])[1].test["accuracy"] == 1.0


def test_a_fit_that_does_not_converge_says_so(monkeypatch: pytest.MonkeyPatch) -> None:
    rows = reviews(0, negative=50, positive=50, neutral=50)
    labels = ["negative", "neutral", "positive"]
    assert "converged" not in baselines(rows, rows, rows, labels)[1].description
    monkeypatch.setattr(module, "MOST_ITERATIONS", 1)
    assert "before it converged, after 1 iterations" in baselines(rows, rows, rows, labels)[1].description


def test_the_same_rows_give_the_same_baselines() -> None:
    rows = reviews(0, negative=30, positive=30)
    assert baselines(rows, rows, rows, ["negative", "positive"]) == baselines(
        rows, rows, rows, ["negative", "positive"]
    )
