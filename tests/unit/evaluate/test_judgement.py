"""Selection and gate together, on answers as the predictors give them."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
from numpy.typing import NDArray

from anneal_api.job import FineTuneJobSpec
from anneal_api.report import Verdict
from anneal_trainer.data.rows import Rows, row_hashes
from anneal_trainer.evaluate.judgement import TRAINING_ROWS_FILE, Judgement, judge

LABELS = ["negative", "positive"]
GOLD = np.tile([0, 1], 50)
TEXTS = [f"Text {row}" for row in range(100)]
TEST_ROWS = Rows(TEXTS, [LABELS[label] for label in GOLD], [f"test.csv:{row + 1}" for row in range(100)])


def logits(right: int) -> NDArray[np.float32]:
    """Outputs of which the first ones are right."""
    predicted = np.where(np.arange(100) < right, GOLD, 1 - GOLD)
    return (4 * np.eye(2, dtype=np.float32))[predicted]


@dataclass
class Answering:
    """Stands for a predictor: a model is known here by what it answers."""

    answers: NDArray[np.float32]
    asked: list[list[str]] = field(default_factory=list)

    def __enter__(self) -> Answering:
        return self

    def __exit__(self, *_: object) -> None:
        pass

    def logits(self, texts: list[str]) -> NDArray[np.float32]:
        self.asked.append(texts)
        return self.answers


def variant(name: str, *, validation: int, test: int, size: int) -> SimpleNamespace:
    measures = SimpleNamespace(
        steps=["onnx"],
        bytes=size,
        latency_ms_p50=2.0,
        latency_ms_p95=3.0,
        max_logit_difference=0.0,
        agreement=1.0,
    )
    return SimpleNamespace(
        name=name,
        measures=measures,
        validation_logits=logits(validation),
        predictor=lambda *, threads: Answering(logits(test)),  # noqa: ARG005
    )


def published(folder: Path, *, right: int, learned: list[str]) -> SimpleNamespace:
    rows = Rows(learned, ["negative"] * len(learned), ["train.csv:1"] * len(learned))
    np.save(folder / TRAINING_ROWS_FILE, row_hashes(rows))
    manifest = SimpleNamespace(version=3, predictor=SimpleNamespace(labels=LABELS))
    return SimpleNamespace(
        folder=folder,
        manifest=manifest,
        predictor=lambda *, threads: Answering(logits(right)),  # noqa: ARG005
    )


def judged(gates: list[dict[str, object]], incumbent: SimpleNamespace | None = None) -> Judgement:
    spec = FineTuneJobSpec.model_validate(
        {
            "task": "text-classification",
            "model": {"source": "m"},
            "data": {"train": {"uri": "t.csv"}, "split": {"validation": 0.1, "test": 0.1}},
            "evaluation": {"metrics": ["accuracy"], "gates": gates},
            "compression": {"maxDrop": 0.02, "variants": [{"name": "int8", "quantize": {}}]},
        }
    )
    data = SimpleNamespace(
        labels=LABELS,
        validation=SimpleNamespace(labels=GOLD),
        test=SimpleNamespace(labels=GOLD, rows=lambda: TEST_ROWS),
    )
    variants = [
        variant("fp32", validation=92, test=91, size=90),
        variant("int8", validation=91, test=88, size=23),
        variant("tiny", validation=80, test=99, size=1),
    ]
    return judge(variants, data=data, spec=spec, shown=["accuracy"], incumbent=incumbent)  # type: ignore[arg-type]


def test_validation_selects_and_test_judges() -> None:
    found = judged([{"metric": "accuracy", "min": 0.9}])
    assert {each.name: (each.eligible, each.selected) for each in found.variants} == {
        "fp32": (True, False),
        "int8": (True, True),
        "tiny": (False, False),
    }
    assert found.gate.selected == "int8"
    assert not found.gate.passed  # 0.91 on validation, but 0.88 on test; fp32's 0.91 on test cannot save it
    assert found.test.metrics["accuracy"] == pytest.approx(0.88)
    assert (found.test_logits == logits(88)).all()
    assert [each.test["accuracy"] for each in found.variants] == pytest.approx([0.91, 0.88, 0.99])


@pytest.mark.parametrize(("right", "verdict"), [(87, Verdict.PASSED), (90, Verdict.FAILED)])
def test_the_incumbent_answers_the_same_rows_again(tmp_path: Path, right: int, verdict: Verdict) -> None:
    found = judged(
        [{"metric": "accuracy", "versusIncumbent": 0}],
        published(tmp_path, right=right, learned=["another text"]),
    )
    assert found.gate.rows[0].verdict is verdict
    assert (found.gate.incumbent, found.gate.rows[0].rows) == (3, 100)


def test_texts_that_the_incumbent_learned_are_left_out_however_they_are_written(tmp_path: Path) -> None:
    learned = [f"  TEXT   {row} " for row in range(20)]
    row = judged(
        [{"metric": "accuracy", "versusIncumbent": 0}], published(tmp_path, right=100, learned=learned)
    ).gate.rows[0]
    assert (row.rows, row.incumbent) == (80, 1.0)
    assert row.candidate == pytest.approx(68 / 80)
    assert "20 of 100 test rows left out" in row.message
