"""A row as a file holds it, and what can be said about it whatever the file's format."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from anneal_api.errors import Problem
from anneal_api.spec.data import Columns
from anneal_trainer.data.problems import did_you_mean, listed

MOST_CHARACTERS = 10_000_000
"""Longest cell that is read; a longer one is nearly always a quote that nothing closes."""


@dataclass(frozen=True, slots=True)
class Record:
    """The two cells of a row, as the file holds them.

    Attributes:
        row: Data row, counted from 1.
        line: Line of the file that it starts on, counted from 1; None where the format has no lines.
        text: The cell of the text column.
        label: The cell of the label column.
    """

    row: int
    line: int | None
    text: object
    label: object


def row_place(name: str, row: int, line: int | None, column: str = "") -> str:
    """Returns where a row is, in words: `train.csv, row 17 (line 18), column text`."""
    line_part = f" (line {line})" if line is not None else ""
    return f"{name}, row {row}{line_part}" + (f", column {column}" if column else "")


def missing_columns(names: Sequence[str], columns: Columns) -> Iterator[Problem]:
    """Yields a problem, without its place, for each wanted column that is not among the names."""
    for field, wanted in (("text", columns.text), ("label", columns.label)):
        if wanted in names:
            continue
        meant = did_you_mean(wanted, names)
        remedy = (
            f"Did you mean '{meant}'? Then set spec.data.columns.{field} to it."
            if meant
            else f"Set spec.data.columns.{field} to the name of the column with the {field}."
        )
        yield Problem(
            f"There is no column '{wanted}'; there are {listed(map(printable, names))}.", "", remedy
        )


def class_name(label: int | None, names: Sequence[str]) -> str | None:
    """Returns the name of a class of `datasets`; None where the row has no label, which is written as -1 too."""
    return names[label] if label is not None and 0 <= label < len(names) else None


def kind_of(value: object) -> str:
    """Returns what a JSON or parquet value is, in words."""
    if value is None:
        return "null"
    kinds = {
        bool: "a boolean",
        int: "a number",
        float: "a number",
        str: "a text",
        list: "a list",
        dict: "an object",
    }
    return kinds.get(type(value), f"a {type(value).__name__}")


def printable(text: str) -> str:
    """Returns a text that can be shown: bytes that were not UTF-8 become question marks."""
    return text.encode("utf-8", "replace").decode()
