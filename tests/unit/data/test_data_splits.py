"""Cutting one source into train, validation and test."""

from __future__ import annotations

from collections import Counter
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from anneal_api.errors import DataInvalid
from anneal_api.spec.data import Data, Split
from anneal_trainer.data.rows import Rows
from anneal_trainer.data.splits import cut, load_splits


def rows_of(labels: list[str]) -> Rows:
    texts = [f"text {index}" for index in range(len(labels))]
    return Rows(texts, labels, [f"d.csv:{index + 1}" for index in range(len(labels))])


def write(folder: Path, name: str, counts: dict[str, int]) -> None:
    lines = [f"{label} text {index},{label}" for label, count in counts.items() for index in range(count)]
    (folder / name).write_text("\n".join(["text,label", *lines]) + "\n")


def data_of(**data: object) -> Data:
    return Data.model_validate({"train": {"uri": "train.csv"}, **data})


@given(
    counts=st.lists(st.integers(3, 80), min_size=1, max_size=5),
    validation=st.floats(0.02, 0.45),
    test=st.floats(0.02, 0.45),
    seed=st.integers(0, 2**31 - 1),
)
def test_a_stratified_cut_is_disjoint_complete_and_within_one_row(
    counts: list[int], validation: float, test: float, seed: int
) -> None:
    labels = [str(label) for label, count in enumerate(counts) for _ in range(count)]
    rows = rows_of(labels)
    parts = cut(rows, {"validation": validation, "test": test}, split=Split(seed=seed))
    assert sorted(source for part in parts.values() for source in part.sources) == sorted(rows.sources)
    for name, fraction in (("validation", validation), ("test", test)):
        found = Counter(parts[name].labels)
        for label, count in enumerate(counts):
            assert abs(found[str(label)] - count * fraction) < 1 + 1e-9
            assert found[str(label)] >= 1
    assert set(parts["train"].labels) == set(labels)


@given(count=st.integers(3, 60), seed=st.integers(0, 1000))
def test_a_plain_cut_has_the_asked_share(count: int, seed: int) -> None:
    rows = rows_of(["a"] * (count - 1) + ["b"])
    parts = cut(rows, {"test": 0.25}, split=Split(seed=seed, stratify=False))
    assert abs(len(parts["test"]) - count * 0.25) < 1
    assert len(parts["train"]) + len(parts["test"]) == count


def test_the_cut_never_changes() -> None:
    rows = rows_of(["a", "b"] * 10)
    parts = cut(rows, {"validation": 0.2, "test": 0.1}, split=Split(seed=7))
    assert parts["validation"].sources == ["d.csv:5", "d.csv:12", "d.csv:13", "d.csv:20"]
    assert parts["test"].sources == ["d.csv:2", "d.csv:7"]


@given(seed=st.integers(0, 1000))
def test_another_seed_cuts_differently_and_the_same_seed_the_same(seed: int) -> None:
    rows = rows_of(["a", "b"] * 50)
    once, again, other = (
        cut(rows, {"test": 0.2}, split=Split(seed=number))["test"].sources
        for number in (seed, seed, seed + 1)
    )
    assert once == again
    assert once != other


def test_repeated_texts_stay_together() -> None:
    rows = rows_of(["a"] * 100)
    rows.texts[:] = [f"text {index // 2}" for index in range(100)]
    parts = cut(rows, {"test": 0.2}, split=Split(seed=3))
    assert not set(parts["train"].texts) & set(parts["test"].texts)


def test_a_label_with_too_few_rows_is_named() -> None:
    rows = rows_of(["a"] * 20 + ["b"] * 2 + ["c"])
    with pytest.raises(DataInvalid) as caught:
        cut(rows, {"validation": 0.1, "test": 0.1}, split=Split(), label_column="kind")
    assert str(caught.value) == (
        "spec.data.split: The rows cannot be cut into train, validation and test.\n"
        "spec.data.train, column kind: The label 'b' has 2 rows, and each of the 3 parts needs at least "
        "one. Add rows of "
        "it, leave it out, or set spec.data.split.stratify: false.\n"
        "spec.data.train, column kind: The label 'c' has 1 row, and each of the 3 parts needs at least "
        "one. Add rows of "
        "it, leave it out, or set spec.data.split.stratify: false."
    )
    parts = cut(rows, {"validation": 0.1, "test": 0.1}, split=Split(stratify=False))
    assert sum(map(len, parts.values())) == 23


def test_rows_without_a_label_are_left_to_preflight() -> None:
    parts = cut(rows_of(["a"] * 10 + [""]), {"test": 0.5}, split=Split())
    assert parts["train"].labels.count("") == 1


def test_explicit_sources_are_taken_as_they_are(tmp_path: Path) -> None:
    for name, count in (("train", 5), ("validation", 2), ("test", 3)):
        write(tmp_path, f"{name}.csv", {"a": count})
    data = data_of(validation={"uri": "validation.csv"}, test={"uri": "test.csv"})
    splits = load_splits(data, base_folder=tmp_path)
    assert [len(rows) for _, rows in splits.items()] == [5, 2, 3]
    assert splits.test.sources == ["test.csv:1", "test.csv:2", "test.csv:3"]


def test_only_the_missing_split_is_cut_out(tmp_path: Path) -> None:
    write(tmp_path, "train.csv", {"a": 50, "b": 50})
    write(tmp_path, "test.csv", {"a": 3, "b": 3})
    data = data_of(test={"uri": "test.csv"}, split={"validation": 0.1})
    splits = load_splits(data, base_folder=tmp_path)
    assert [len(rows) for _, rows in splits.items()] == [90, 10, 6]


def test_problems_of_all_sources_come_at_once(tmp_path: Path) -> None:
    (tmp_path / "train.csv").write_text("text,label\nlonely\n")
    data = data_of(validation={"uri": "nothing.csv"}, split={"validation": 0.5, "test": 0.6})
    with pytest.raises(DataInvalid) as caught:
        load_splits(data, base_folder=tmp_path)
    assert [problem.where for problem in caught.value.problems] == [
        "spec.data.split.validation",
        "spec.data.split",
        "train.csv, row 1 (line 2)",
        "spec.data.validation.uri",
    ]


def test_a_split_from_nowhere_is_refused(tmp_path: Path) -> None:
    write(tmp_path, "train.csv", {"a": 50, "b": 50})
    with pytest.raises(DataInvalid) as caught:
        load_splits(data_of(), base_folder=tmp_path)
    assert [str(problem) for problem in caught.value.problems] == [
        "spec.data.validation: There are no validation rows. Name a source, or cut them out of the "
        "training rows with "
        "spec.data.split.validation: 0.1.",
        "spec.data.test: There are no test rows. Name a source, or cut them out of the training rows with "
        "spec.data.split.test: 0.1.",
    ]
