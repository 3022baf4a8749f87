"""What the report shows of a model on a set of rows."""

from __future__ import annotations

import math

import numpy as np
import pytest
from numpy.typing import NDArray

from anneal_api.report import ClassificationScores
from anneal_trainer.data.rows import Rows
from anneal_trainer.evaluate.metrics import classification_metrics
from anneal_trainer.evaluate.scores import WORST, score

LABELS = ["negative", "neutral", "positive"]


def rows_of(number: int) -> Rows:
    return Rows(
        [f"text {row}" for row in range(number)],
        ["negative"] * number,
        [f"test.csv:{row + 1}" for row in range(number)],
    )


def sample(number: int = 200, seed: int = 0) -> tuple[NDArray[np.float32], NDArray[np.int64]]:
    chance = np.random.default_rng(seed)
    gold = chance.integers(0, 3, number)
    logits = chance.normal(size=(number, 3))
    logits[np.arange(number), gold] += 1.0
    return logits.astype(np.float32), gold


def scored(
    logits: NDArray[np.float32], gold: NDArray[np.int64], *, private: bool = False
) -> ClassificationScores:
    return score(
        logits, gold, labels=LABELS, shown=["f1", "log_loss"], rows=rows_of(len(gold)), private=private
    )


def test_scores_agree_with_each_other() -> None:
    logits, gold = sample()
    found = scored(logits, gold)
    confusion = np.array(found.confusion)
    assert found.rows == confusion.sum() == 200
    assert found.metrics == classification_metrics(logits, gold)
    assert found.metrics["accuracy"] == pytest.approx(np.trace(confusion) / 200)
    assert found.metrics["f1"] == pytest.approx(np.mean([each.f1 for each in found.per_class]))
    assert [each.label for each in found.per_class] == LABELS
    assert [each.support for each in found.per_class] == confusion.sum(axis=1).tolist()
    assert sum(each.rows for each in found.calibration) == 200


def test_shown_metrics_have_an_interval_around_them() -> None:
    found = scored(*sample())
    assert set(found.intervals) == {"f1", "log_loss"}
    for name, (low, high) in found.intervals.items():
        assert low < found.metrics[name] < high


def test_worst_errors_are_the_surest_wrong_answers() -> None:
    logits, gold = sample()
    worst = scored(logits, gold).worst
    assert len(worst) == WORST
    assert [each.confidence for each in worst] == sorted((each.confidence for each in worst), reverse=True)
    shifted = np.exp(logits.astype(float))
    probabilities = shifted / shifted.sum(axis=1, keepdims=True)
    wrong = probabilities.argmax(axis=1) != gold
    assert worst[0].confidence == pytest.approx(probabilities.max(axis=1)[wrong].max())
    row = int(worst[0].source.rpartition(":")[2]) - 1
    assert worst[0].text == f"text {row}"
    assert worst[0].expected == LABELS[gold[row]] != worst[0].predicted
    assert worst[0].expected_probability == pytest.approx(probabilities[row, gold[row]])


def test_private_rows_leave_no_text_behind() -> None:
    found = scored(*sample(), private=True)
    assert found.worst
    assert all(each.text == "" and each.source for each in found.worst)
    assert "text " not in found.model_dump_json()


def test_a_perfect_model_has_no_worst_errors() -> None:
    gold = np.array([0, 1, 2])
    found = scored(np.eye(3, dtype=np.float32)[gold] * 9, gold)
    assert found.worst == []
    assert found.metrics["f1"] == 1


def test_outputs_that_are_no_numbers_survive_the_way_through_json() -> None:
    logits, gold = sample(20)
    logits[3, 0] = math.nan
    found = ClassificationScores.model_validate_json(scored(logits, gold).model_dump_json())
    assert math.isnan(found.metrics["f1"])
    assert found.intervals == {}
    assert sum(map(sum, found.confusion)) == 19
    assert all(each.source != "test.csv:4" for each in found.worst)


def test_a_model_without_any_answer_is_scored_too() -> None:
    found = scored(np.full((4, 3), math.nan, dtype=np.float32), np.zeros(4, dtype=int))
    assert (found.rows, found.calibration, found.worst) == (4, [], [])
    assert math.isnan(found.metrics["accuracy"])


def test_the_seed_decides_the_interval_alone() -> None:
    logits, gold = sample()
    same = {"labels": LABELS, "shown": ["f1"], "rows": rows_of(200), "private": False}
    first, second = (score(logits, gold, seed=seed, **same) for seed in (0, 1))  # type: ignore[arg-type]
    assert first == scored(logits, gold).model_copy(update={"intervals": first.intervals})
    assert first.intervals != second.intervals
    assert first.metrics == second.metrics
