"""What identifies rows: hashes against leakage, a digest of all data."""

from __future__ import annotations

import numpy as np
import pytest

from anneal_trainer.data.rows import Rows, Splits, digest, place, row_hashes


def rows_of(*texts: str, label: str = "a") -> Rows:
    return Rows(list(texts), [label] * len(texts), [f"d.csv:{row}" for row in range(1, len(texts) + 1)])


def test_the_same_text_written_differently_has_the_same_hash() -> None:
    hashes = row_hashes(rows_of("Straße  CAFE\u0301\n", " strasse café", "strasse cafe", ""))
    assert hashes.dtype == np.uint64
    assert hashes[0] == hashes[1]
    assert len(set(hashes.tolist())) == 3


def test_hashes_never_change() -> None:
    # They are kept beside published models, so a change would make every old version's rows unknown.
    assert row_hashes(rows_of("Hello  World", "x")).tolist() == [5814608031911216775, 5717441744405258058]
    assert row_hashes(rows_of()).shape == (0,)


def test_the_digest_sees_texts_labels_and_splits_but_not_file_names() -> None:
    one = Splits(rows_of("x", "y"), rows_of("z"), rows_of("w"))
    renamed = Splits(Rows(["x", "y"], ["a", "a"], ["e.csv:1", "e.csv:2"]), one.validation, one.test)
    assert digest(one) == digest(renamed)
    others = [
        Splits(rows_of("x", "Y"), one.validation, one.test),
        Splits(rows_of("x", "y", label="b"), one.validation, one.test),
        Splits(rows_of("xy", ""), one.validation, one.test),
        Splits(rows_of("x"), rows_of("y", "z"), one.test),
        Splits(one.train, one.test, one.validation),
    ]
    assert len({digest(one), *map(digest, others)}) == 6


def test_rows_are_selected_in_the_given_order() -> None:
    chosen = rows_of("x", "y", "z").select([2, 0])
    assert (chosen.texts, chosen.sources) == (["z", "x"], ["d.csv:3", "d.csv:1"])


@pytest.mark.parametrize(
    ("source", "expected"),
    [
        ("d.csv:7", "d.csv, row 7, column text"),
        ("hf://lab/x[test]:7", "hf://lab/x[test], row 7, column text"),
    ],
)
def test_a_place_is_told_in_words(source: str, expected: str) -> None:
    assert place(source, "text") == expected
