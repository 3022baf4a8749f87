"""What preflight says about rows, lengths and the plan."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pytest
from numpy.typing import NDArray

from anneal_api.errors import DataInvalid
from anneal_api.job import FineTuneJobSpec
from anneal_api.report import Finding
from anneal_trainer.base_model import ModelDescription
from anneal_trainer.data.estimate import EFFICIENCY, Machine, estimate
from anneal_trainer.data.preflight import inspect, measure_lengths, refuse_errors, summarize
from anneal_trainer.data.rows import Rows, Splits

MODEL = ModelDescription(
    model_type="bert",
    parameters=22_713_216,
    hidden_size=384,
    layers=6,
    heads=12,
    intermediate_size=1536,
    max_positions=512,
    vocab_size=30522,
    labels=(),
)
MACHINE = Machine(memory_bytes=16_000_000_000, flops=100e9)


class WordRuler:
    """A word is a token, and two special ones."""

    def lengths(self, texts: Sequence[str]) -> NDArray[np.int64]:
        return np.array([len(text.split()) + 2 for text in texts], dtype=np.int64)


def rows_of(name: str, pairs: Sequence[tuple[str, str]]) -> Rows:
    sources = [f"{name}.csv:{row}" for row in range(1, len(pairs) + 1)]
    return Rows([text for text, _ in pairs], [label for _, label in pairs], sources)


def good(name: str, count: int) -> list[tuple[str, str]]:
    return [(f"{name} text number {index}", "ab"[index % 2]) for index in range(count)]


def splits_of(
    *,
    train: Sequence[tuple[str, str]] = (),
    validation: Sequence[tuple[str, str]] = (),
    test: Sequence[tuple[str, str]] = (),
) -> Splits:
    """Good splits with the given rows in front."""
    return Splits(
        rows_of("train", [*train, *good("train", 1000)]),
        rows_of("validation", [*validation, *good("validation", 100)]),
        rows_of("test", [*test, *good("test", 1000)]),
    )


def found(
    splits: Splits, *, processes: int = 1, machine: Machine = MACHINE, **training: object
) -> list[Finding]:
    spec = FineTuneJobSpec.model_validate(
        {
            "task": "text-classification",
            "model": {"source": "base"},
            "data": {"train": {"uri": "train.csv"}},
            "training": {"maxLength": 8, **training},
        }
    )
    lengths = measure_lengths(splits, WordRuler())
    return inspect(splits, spec, lengths, model=MODEL, machine=machine, processes=processes)


def told(splits: Splits, **training: object) -> list[tuple[str, str, str]]:
    """Returns level, what and where of all findings but the plan's note."""
    return [(f.level, f.what, f.where) for f in found(splits, **training) if f.where != "spec.training"]


def test_good_data_has_nothing_but_the_plan() -> None:
    assert told(splits_of()) == []
    plan = found(splits_of(), epochs=3, batchSize=32)
    assert [finding.level for finding in plan] == ["note"]
    assert plan[0].what.startswith(
        "96 optimizer steps (32 an epoch) over 18000 tokens of 3 epochs; by estimate "
    )
    assert "100 GFLOP/s measured here" in plan[0].what


@pytest.mark.parametrize(
    ("splits", "expected"),
    [
        (
            splits_of(train=[("", "a"), (" \n", "b"), ("fine", "a")]),
            ("error", "2 texts of the train rows are empty.", "train.csv, rows 1, 2, column text"),
        ),
        (
            splits_of(test=[("fine", " ")]),
            ("error", "1 label of the test rows is missing.", "test.csv, row 1, column label"),
        ),
        (
            splits_of(validation=[("fine", "c")] * 1),
            (
                "error",
                "The label 'c' of 1 validation row is not among the training rows.",
                "validation.csv, row 1, column label",
            ),
        ),
        (
            splits_of(train=[("new", "c")]),
            (
                "warning",
                "No test row has the label 'c', so it is not scored.",
                "spec.data.test, column label",
            ),
        ),
        (
            splits_of(train=[("new", "A ")]),
            (
                "warning",
                "The labels 'A ', 'a' differ in case or spaces only, and count as different.",
                "spec.data.train, column label",
            ),
        ),
        (
            splits_of(train=[("new", "a\u200b")]),
            (
                "warning",
                "The labels 'a', 'a\\u200b' differ in how they are written only, and count as different.",
                "spec.data.train, column label",
            ),
        ),
        (
            splits_of(train=[("new", "\u200bc")]),
            (
                "warning",
                "1 label with an invisible character at one end: '\\u200bc'.",
                "spec.data.train, column label",
            ),
        ),
        (
            splits_of(test=[("new", "A"), ("newer", "A")]),
            (
                "error",
                "The label 'A' of 2 test rows is written 'a' in the training rows.",
                "test.csv, rows 1, 2, column label",
            ),
        ),
        *(
            (
                splits_of(train=[("fine", "a"), (word, "a"), (word, "b")]),
                (
                    "warning",
                    f"2 texts of the train rows are nothing but '{word}', as missing cells are written that became "
                    "words.",
                    "train.csv, rows 2, 3, column text",
                ),
            )
            for word in ("nan", "NaN", "None", "null", "NULL", "<NA>", "NaT", "N/A", "#N/A")
        ),
        (
            splits_of(train=[("fine", "nan")]),
            (
                "warning",
                "1 label of the train rows is nothing but 'nan', as missing cells are written that became words.",
                "train.csv, row 1, column label",
            ),
        ),
        (
            splits_of(train=[("\u200b\ufeff", "a"), ("\u3164", "b"), ("fine", "a")]),
            ("error", "2 texts of the train rows are empty.", "train.csv, rows 1, 2, column text"),
        ),
        (
            splits_of(train=[("same", "a"), ("other", "b"), ("Same ", "a"), ("SAME", "a")]),
            ("warning", "2 train rows (0.2%) repeat an earlier text.", "train.csv, rows 3, 4, column text"),
        ),
        (
            splits_of(test=[("same", "a"), ("other", "b"), ("Same ", "a"), ("SAME", "b")]),
            (
                "warning",
                "1 test text is there with different labels.",
                "test.csv, row 1 'a' and test.csv, row 4 'b', column label",
            ),
        ),
        (
            splits_of(
                train=[("leak one", "a"), ("leak two", "b")], test=[("Leak  two", "b"), ("leak one", "a")]
            ),
            (
                "warning",
                "2 test rows (0.2%) are also among the train rows.",
                "test.csv, row 1 is train.csv, row 2; test.csv, row 2 is train.csv, row 1",
            ),
        ),
        (
            splits_of(validation=[("leak", "a")], test=[("leak", "a")]),
            (
                "warning",
                "1 test row (0.1%) is also among the validation rows.",
                "test.csv, row 1 is validation.csv, row 1",
            ),
        ),
        (
            splits_of(train=[(f"rare {index}", "c") for index in range(20)]),
            ("warning", "Few training rows have the label 'c' 20 (2.0%).", "spec.data.train, column label"),
        ),
        (
            splits_of(validation=[("one two three four five six seven", "a")] * 10),
            (
                "warning",
                "10 validation rows (9.1%) are longer than maxLength 8 and lose their end; "
                "the longest has 9 tokens.",
                "spec.training.maxLength; validation.csv, rows 1, 2, 3, 4, 5 and 5 more, column text",
            ),
        ),
    ],
)
def test_what_is_wrong_with_rows_is_told_with_its_place(
    splits: Splits, expected: tuple[str, str, str]
) -> None:
    assert expected in told(splits)


def test_a_class_or_a_text_that_is_called_none_is_nothing_to_remark_on() -> None:
    splits = splits_of(
        train=[("none", "none"), ("nano", "none"), ("a None b", "none"), ("Nan's bread", "none")]
    )
    assert not [what for _, what, _ in told(splits) if "nothing but" in what]


def test_a_test_split_that_was_learned_from_stops_the_run() -> None:
    shared = [(f"shared {index}", "ab"[index % 2]) for index in range(300)]
    findings = [f for f in found(splits_of(train=shared, test=shared)) if f.level == "error"]
    assert [f.what for f in findings] == ["300 test rows (23.1%) are also among the train rows."]
    assert findings[0].remedy == "Leave them out of one of the two: the gate would read memory."


def test_an_unknown_label_gets_a_guess() -> None:
    splits = Splits(
        rows_of("train", [(f"t{i}", ["positive", "negative"][i % 2]) for i in range(40)]),
        rows_of("validation", [("x", "positive"), ("y", "negative")]),
        rows_of("test", [("z", "positve")]),
    )
    remedies = [f.remedy for f in found(splits) if f.level == "error"]
    assert remedies == ["Did you mean 'positive'?"]


def test_a_column_that_holds_no_labels_is_told_in_few_words() -> None:
    everywhere = [[(f"{name} {index}", f"{name}-{index}") for index in range(2000)] for name in "abc"]
    splits = Splits(*(rows_of(name, pairs) for name, pairs in zip("abc", everywhere, strict=True)))
    findings = found(splits)
    assert len(findings) < 20
    assert ("warning", "The 2000 training rows have 2000 different labels.") in [
        (f.level, f.what) for f in findings
    ]
    assert "1995 more labels of the test rows are not among the training rows." in [f.what for f in findings]


def test_one_label_is_not_enough() -> None:
    rows = rows_of("d", [(f"text {index}", "only") for index in range(200)])
    assert ("error", "The training rows have 1 label, 'only'.", "spec.data.train, column label") in told(
        Splits(rows, rows, rows)
    )


def test_many_labels_with_even_shares_are_balanced() -> None:
    pairs = [(f"text {index}", f"label {index % 40}") for index in range(1000)]
    splits = Splits(
        *(rows_of(name, [(f"{name} {t}", n) for t, n in pairs]) for name in ("train", "validation", "test"))
    )
    assert told(splits) == []


@pytest.mark.parametrize(("count", "level", "points"), [(50, "warning", "±8.3"), (400, "note", "±2.9")])
def test_a_small_test_split_says_how_little_it_tells(count: int, level: str, points: str) -> None:
    splits = Splits(
        rows_of("train", good("train", 100)),
        rows_of("validation", good("v", 100)),
        rows_of("test", good("test", count)),
    )
    assert (
        level,
        f"With {count} test rows, an accuracy of 90 % is known to {points} points (95 % interval).",
        "spec.data.test",
    ) in told(splits)


def test_a_length_beyond_the_model_stops_the_run() -> None:
    findings = found(splits_of(), maxLength=1024)
    first = findings[0]
    assert (first.level, first.what, first.remedy) == (
        "error",
        "maxLength is 1024, but the model reads at most 512 tokens.",
        "Set it to 512 or less.",
    )
    assert ("note", "maxLength is 1024, the longest text has 6 tokens.", "spec.training.maxLength") in told(
        splits_of(), maxLength=1024
    )


def test_a_batch_larger_than_the_data_is_told() -> None:
    assert (
        "warning",
        "batchSize is 2048, but there are 1000 training rows: a step has rows twice.",
        "spec.training.batchSize",
    ) in told(splits_of(), batchSize=2048)


def test_memory_that_cannot_suffice_stops_the_run_and_scarce_memory_warns() -> None:
    starved = found(splits_of(), machine=Machine(300_000_000, 1e11))
    assert starved[0].what == "Weights, gradients and optimizer alone take 0.4 GB; there are 0.3 GB."
    assert starved[0].level == "error"
    scarce = found(splits_of(), machine=Machine(1_000_000_000, 1e11))
    assert (scarce[0].level, scarce[0].where) == ("warning", "spec.training.maxBatchTokens")
    both = found(splits_of(), machine=Machine(800_000_000, 1e11), processes=2)
    assert both[0].level == "error"


def test_the_estimate_follows_its_formula() -> None:
    spec = FineTuneJobSpec.model_validate(
        {
            "task": "text-classification",
            "model": {"source": "base"},
            "data": {"train": {"uri": "train.csv"}},
            "training": {"maxLength": 128, "batchSize": 32, "epochs": 2},
        }
    )
    lengths = np.full(100, 128, dtype=np.int64)
    plan = estimate(lengths, np.zeros(0, np.int64), spec.training, MODEL, MACHINE, processes=1)
    assert (plan.steps_per_epoch, plan.steps, plan.tokens) == (4, 8, 25_600)
    assert plan.state_bytes == 16 * MODEL.parameters
    # 67 MFLOP a trained token: MiniLM with 6 layers of 384 at 128 tokens.
    per_token = plan.seconds * MACHINE.flops * EFFICIENCY / plan.tokens
    assert per_token == pytest.approx(67e6, rel=0.01)


def test_errors_are_raised_as_one() -> None:
    findings = found(splits_of(train=[("", "a")], test=[("x", "c")]))
    with pytest.raises(DataInvalid) as caught:
        refuse_errors(findings)
    assert str(caught.value) == (
        "spec.data: The data cannot be trained on.\n"
        "train.csv, row 1, column text: 1 text of the train rows is empty. "
        "Fill them in or leave the rows out.\n"
        "test.csv, row 1, column label: The label 'c' of 1 test row is not among the training rows. "
        "The training labels are 'a', 'b'."
    )
    refuse_errors([finding for finding in findings if finding.level != "error"])


def test_no_finding_quotes_a_text() -> None:
    secret = [("secret words", "a"), ("secret words", "b"), ("", "c"), ("secret words", "x")]
    for finding in found(splits_of(train=secret[:3], validation=secret, test=secret)):
        assert "secret" not in finding.what + finding.where + finding.remedy


def test_the_summary_counts_rows_labels_and_lengths() -> None:
    splits = splits_of(train=[("one two three four five six seven", "b")])
    findings = found(splits)
    summary = summarize(splits, measure_lengths(splits, WordRuler()), ["b", "a"], 8, findings)
    train = summary.splits["train"]
    assert (train.rows, train.labels, train.truncated, train.tokens_max, train.tokens_p95) == (
        1001,
        {"b": 501, "a": 500},
        1,
        9,
        6,
    )
    assert train.tokens_mean == pytest.approx(6.003, abs=1e-3)
    assert list(train.labels) == summary.labels == ["b", "a"]
    assert summary.findings == findings
