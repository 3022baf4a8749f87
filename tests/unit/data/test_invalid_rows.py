"""Rows that nothing can be learned from: left out and counted, or refused."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path

import pytest

from anneal_api.errors import DataInvalid
from anneal_api.job import FineTuneJobSpec
from anneal_api.report import DataSummary
from anneal_trainer import stage_keys
from anneal_trainer.data.invalid_rows import findings_of
from anneal_trainer.data.row_checks import check_rows
from anneal_trainer.data.rows import LeftOut, Splits, digest
from anneal_trainer.data.splits import load_splits

Row = tuple[object, object]
CUT = {"split": {"validation": 0.2, "test": 0.2}}
OWN = {"validation": {"uri": "validation.json"}, "test": {"uri": "test.json"}}


def good(count: int, mark: str = "") -> list[Row]:
    return [(f"{mark} text number {index}", "ab"[index % 2]) for index in range(count)]


def write(folder: Path, name: str, rows: Sequence[Row]) -> None:
    (folder / name).write_text(json.dumps([{"text": text, "label": label} for text, label in rows]))


def spec_of(invalid_rows: dict[str, object] | None = None, **data: object) -> FineTuneJobSpec:
    more = {} if invalid_rows is None else {"invalidRows": invalid_rows}
    return FineTuneJobSpec.model_validate(
        {
            "task": "text-classification",
            "model": {"source": "base"},
            "data": {"train": {"uri": "train.json"}, **data, **more},
        }
    )


def told(splits: Splits, spec: FineTuneJobSpec) -> list[tuple[str, str, str]]:
    found = findings_of(splits.left_out, spec.data.invalid_rows.max_share)
    return [(finding.level, finding.what, finding.where) for finding in found]


def problems(folder: Path, spec: FineTuneJobSpec) -> list[str]:
    with pytest.raises(DataInvalid) as caught:
        load_splits(spec.data, base_folder=folder)
    return [str(problem) for problem in caught.value.problems]


BLANK: list[object] = [
    None,
    "",
    " \t\n",
    "\u00a0",
    "\u200b",
    "\ufeff",
    "\u00ad",
    "\u3164",
    "\u2800",
    "\u2060\u200d",
    float("nan"),
]


@pytest.mark.parametrize("blank", BLANK)
def test_rows_without_text_or_label_are_left_out_before_the_cut(tmp_path: Path, blank: object) -> None:
    rows = good(200)
    write(tmp_path, "train.json", [(blank, "a"), *rows[:100], ("a text", blank), (blank, blank), *rows[100:]])
    spec = spec_of(**CUT)
    splits = load_splits(spec.data, base_folder=tmp_path)
    assert [len(rows) for _, rows in splits.items()] == [120, 40, 40]
    assert told(splits, spec) == [
        (
            "warning",
            "2 of the 203 train rows (1.0%) are left out: the text is empty.",
            "train.json, rows 1, 103, column text",
        ),
        (
            "warning",
            "1 of the 203 train rows (0.5%) is left out: the label is missing.",
            "train.json, row 102, column label",
        ),
    ]
    assert [each.record.model_dump() for each in splits.left_out] == [
        {
            "split": "train",
            "reason": "empty text",
            "rows": 2,
            "of": 203,
            "where": "train.json, rows 1, 103, column text",
        },
        {
            "split": "train",
            "reason": "no label",
            "rows": 1,
            "of": 203,
            "where": "train.json, row 102, column label",
        },
    ]


def test_what_is_left_is_what_a_file_without_those_rows_gives(tmp_path: Path) -> None:
    write(tmp_path, "train.json", good(200))
    clean = load_splits(spec_of(**CUT).data, base_folder=tmp_path)
    write(tmp_path, "train.json", [*good(200), ("", "a"), ("x", None)])
    assert digest(load_splits(spec_of(**CUT).data, base_folder=tmp_path)) == digest(clean)
    assert clean.left_out == ()


def test_rows_whose_label_training_never_sees_are_left_out_after_the_cut(tmp_path: Path) -> None:
    write(tmp_path, "train.json", good(100))
    write(tmp_path, "validation.json", [*good(300, "v"), ("one", "c"), ("two", "d"), ("three", "c")])
    write(tmp_path, "test.json", [*good(298, "t"), ("one", "A"), ("", "a")])
    spec = spec_of(**OWN)
    splits = load_splits(spec.data, base_folder=tmp_path)
    assert [len(rows) for _, rows in splits.items()] == [100, 300, 298]
    assert told(splits, spec) == [
        (
            "warning",
            "1 of the 300 test rows (0.3%) is left out: the text is empty.",
            "test.json, row 300, column text",
        ),
        (
            "warning",
            "3 of the 303 validation rows (1.0%) are left out: the label 'c' of 2 rows is not among the training rows; "
            "the label 'd' of 1 row is not among the training rows.",
            "validation.json, rows 301, 302, 303, column label",
        ),
        (
            "warning",
            "1 of the 300 test rows (0.3%) is left out: the label 'A' of 1 row is written 'a' in the training rows.",
            "test.json, row 299, column label",
        ),
    ]
    assert not [finding for finding in check_rows(splits, spec.data.columns) if finding.level == "error"]


@pytest.mark.parametrize(
    ("max_share", "bad", "level"),
    [(0.02, 2, "warning"), (0.02, 3, "error"), (0.29, 29, "warning"), (0, 1, "error")],
)
def test_a_split_that_loses_too_many_rows_is_refused(
    tmp_path: Path, max_share: float, bad: int, level: str
) -> None:
    write(tmp_path, "train.json", [*good(100 - bad), *[(" ", "a")] * bad])
    spec = spec_of({"maxShare": max_share}, **CUT)
    (found,) = findings_of(load_splits(spec.data, base_folder=tmp_path).left_out, max_share)
    assert found.level == level
    assert found.remedy == (
        "Fill them in, or raise spec.data.invalidRows.maxShare."
        if level == "error"
        else "Fill them in, or set spec.data.invalidRows.action: Refuse to stop at such rows."
    )


def test_all_reasons_of_a_split_count_together_and_every_split_for_itself(tmp_path: Path) -> None:
    write(tmp_path, "train.json", [*good(100), ("", "a"), ("x", "")])
    write(tmp_path, "validation.json", [*good(96, "v"), ("", "a"), ("x", ""), ("y", "c"), ("z", "d")])
    write(tmp_path, "test.json", good(50, "t"))
    spec = spec_of(**OWN)
    found = told(load_splits(spec.data, base_folder=tmp_path), spec)
    assert [level for level, _, _ in found] == ["warning", "warning", "error", "error", "error"]
    assert found[-1][1].endswith("A split may lose 2% of its rows; this one loses 4.0%.")


def test_with_refuse_one_such_row_stops_the_run(tmp_path: Path) -> None:
    write(tmp_path, "train.json", [*good(1000), ("\u200b", "a"), ("x", " ")])
    spec = spec_of({"action": "Refuse"}, **CUT)
    splits = load_splits(spec.data, base_folder=tmp_path)
    assert splits.left_out == ()
    errors = [f"{f.where}: {f.what}" for f in check_rows(splits, spec.data.columns) if f.level == "error"]
    assert len(errors) == 2
    assert any(error.endswith("1 label of the train rows is missing.") for error in errors)
    assert any(error.endswith("rows is empty.") for error in errors)


def test_a_file_of_which_nothing_is_left_is_refused_even_beside_others(tmp_path: Path) -> None:
    (tmp_path / "train.json").mkdir()
    write(tmp_path / "train.json", "one.json", good(1000))
    write(tmp_path / "train.json", "two.json", [("text", None)] * 3)
    assert problems(tmp_path, spec_of(**CUT)) == [
        "two.json: None of its 3 rows has both a text and a label. Check spec.data.columns, or leave the file out."
    ]


def test_a_source_of_which_nothing_is_left_is_refused_with_the_reason(tmp_path: Path) -> None:
    write(tmp_path, "train.json", [("", "a"), ("text", None)])
    file, text, label = problems(tmp_path, spec_of(**CUT))
    assert file.startswith("train.json: None of its 2 rows has both")
    assert text.startswith("train.json, row 1, column text: 1 of the 2 train rows (50.0%) cannot be used")
    assert label.startswith("train.json, row 2, column label: ")


def test_where_too_few_rows_are_left_to_cut_both_are_told(tmp_path: Path) -> None:
    write(tmp_path, "train.json", [*good(20), *[("", "c")] * 5, ("the only one", "c")])
    lost, cut = problems(tmp_path, spec_of(**CUT))
    assert lost.startswith("train.json, rows 21, 22, 23, 24, 25, column text: 5 of the 26 train rows")
    assert "The label 'c' has 1 row" in cut


def test_preflight_looks_again_when_other_rows_are_left_out_or_may_be() -> None:
    one = LeftOut(
        "train", "empty text", 1, 100, "train.csv, row 1, column text", "the text is empty", "Fill them in"
    )

    def key(dropped: list[LeftOut], **invalid_rows: object) -> str:
        records = [each.record for each in dropped]
        return stage_keys.preflight(spec_of(invalid_rows), "m", "d", dropped=records, processes=1).key

    assert len({key([]), key([one]), key([], maxShare=0.5), key([], action="Refuse")}) == 4


def test_a_summary_of_an_older_run_is_still_read() -> None:
    old = {"digest": "d", "labels": ["a"], "splits": {}, "findings": []}
    assert DataSummary.model_validate(old).dropped == []
