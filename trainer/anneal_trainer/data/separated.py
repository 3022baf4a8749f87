"""Reads csv and tsv: the standard library's csv module, strict, with row and line for every complaint.

Where the double quotes of a file are no quoting (see `quotation`), it is read as it stands, a row a line.
"""

from __future__ import annotations

import csv
import io
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import BinaryIO

from anneal_api.errors import Problem
from anneal_api.spec.data import Columns, DataFormat
from anneal_trainer.data.problems import ProblemLog
from anneal_trainer.data.quotation import (
    QUOTE,
    Joined,
    Lines,
    Quotation,
    literal_lines,
    quotation_of,
    quoted_lines,
)
from anneal_trainer.data.records import MOST_CHARACTERS, Record, missing_columns, printable, row_place

_SEPARATORS = {DataFormat.CSV: ",", DataFormat.TSV: "\t"}
_CHUNK = 1 << 20
_SEPARATOR_NAMES = {";": "';'", "\t": "tabs", "|": "'|'", ",": "','"}


def read_separated(
    stream: BinaryIO, name: str, data_format: DataFormat, columns: Columns, log: ProblemLog
) -> Iterator[Record]:
    """Yields the rows of a csv or tsv file.

    Args:
        stream: The file, at its start; it may be read several times.
        name: The file's name in messages.
        data_format: csv or tsv.
        columns: Names of the columns to read.
        log: Gets what is wrong, with row and line.
    """
    separator = _SEPARATORS[data_format]
    with _field_limit(MOST_CHARACTERS):
        quotation = Quotation()
        if _has_quotes(stream):
            with _decoded(stream) as text:
                quotation = quotation_of(text, separator, columns)
        for joined in quotation.joined:
            log.add(_unclear(name, joined, data_format))
        with _decoded(stream) as text:
            lines = (literal_lines if quotation.literal else quoted_lines)(text, separator)
            yield from _records(_numbered(lines, name, log), name, data_format, columns, log)


@contextmanager
def _decoded(stream: BinaryIO) -> Iterator[io.TextIOWrapper]:
    stream.seek(0)
    # Bytes that are not UTF-8 become lone surrogates, which the check of each cell finds with row and column.
    text = io.TextIOWrapper(stream, encoding="utf-8-sig", errors="surrogateescape", newline="")
    try:
        yield text
    finally:
        text.detach()  # the stream is closed by whoever opened it


def _has_quotes(stream: BinaryIO) -> bool:
    stream.seek(0)
    return any(QUOTE.encode() in chunk for chunk in iter(lambda: stream.read(_CHUNK), b""))


def _records(
    rows: Iterator[tuple[int, int, list[str]]],
    name: str,
    data_format: DataFormat,
    columns: Columns,
    log: ProblemLog,
) -> Iterator[Record]:
    number, _, names = next(rows, (0, 1, []))
    if number:
        return  # the header is broken, and the log says so
    problems = _header_problems(names, columns, data_format)
    for found in problems:
        log.add(Problem(found.what, name, found.remedy))
    if problems:
        return
    at_text, at_label = names.index(columns.text), names.index(columns.label)
    for row, line, cells in rows:
        if len(cells) == len(names):
            yield Record(row, line, cells[at_text], cells[at_label])
        else:
            log.add(_ragged(row_place(name, row, line), len(cells), len(names), data_format))


def _numbered(lines: Lines, name: str, log: ProblemLog) -> Iterator[tuple[int, int, list[str]]]:
    """Yields row (the header is 0), first line and cells; blank lines are left out."""
    row = -1
    while True:
        first_line = lines.line_num + 1
        try:
            cells = next(lines)
        except StopIteration:
            return
        except csv.Error as error:
            row += 1
            where = row_place(name, row, first_line) if row else f"{name}, header"
            log.add(_broken(where, error))
            continue
        if cells:
            row += 1
            yield row, first_line, cells


def _unclear(name: str, joined: Joined, data_format: DataFormat) -> Problem:
    """Says that nobody can tell whether a row of several lines is one row or several."""
    last = joined.line + joined.lines - 1
    return Problem(
        f"A double quote opens here and closes on line {last}, so {joined.lines} lines count as one row; "
        "but each of them looks like a row of its own.",
        row_place(name, joined.row, joined.line),
        f'If they are rows, write the quote twice and its cell in quotes ("""So he said"); if it is one text, '
        f"give it in json or parquet, where {data_format.value}'s quotes do not matter.",
    )


def _broken(where: str, error: csv.Error) -> Problem:
    if "field limit" in str(error) or "unexpected end" in str(error):
        return Problem(
            "A double quote opens here and is never closed.",
            where,
            'Close it, and write a quote inside a quoted cell twice ("").',
        )
    return Problem(
        f"The row cannot be read: {error}.", where, 'Write a quote inside a quoted cell twice ("").'
    )


def _ragged(where: str, cells: int, wanted: int, data_format: DataFormat) -> Problem:
    separator = "a comma" if data_format is DataFormat.CSV else "a tab"
    return Problem(
        f"The row has {cells} {'cell' if cells == 1 else 'cells'}, the header has {wanted}.",
        where,
        f"Put a cell that holds {separator} into double quotes.",
    )


def _header_problems(names: Sequence[str], columns: Columns, data_format: DataFormat) -> list[Problem]:
    """Finds, without the place: no header, a wrong separator, a wanted column missing or twice there."""
    if not names:
        return [Problem("The file has no header.", "", "Name the columns in its first line.")]
    twice = [wanted for wanted in (columns.text, columns.label) if names.count(wanted) > 1]
    if twice:
        return [Problem(f"The header names the column '{twice[0]}' twice.", "", "Give each column one name.")]
    missing = list(missing_columns(names, columns))
    used = _SEPARATORS[data_format]
    other = next((mark for mark in _SEPARATOR_NAMES if mark != used and mark in names[0]), None)
    if not missing or len(names) > 1 or other is None:
        return missing
    fitting = next((kind for kind, mark in _SEPARATORS.items() if mark == other), None)
    what = f"The cells seem to be separated by {_SEPARATOR_NAMES[other]}: the only column is "
    remedy = f"Set format: {fitting.value}." if fitting else "Write the file with commas between the cells."
    return [Problem(f"{what}'{printable(names[0])}'.", "", remedy)]


@contextmanager
def _field_limit(characters: int) -> Iterator[None]:
    before = csv.field_size_limit(characters)
    try:
        yield
    finally:
        csv.field_size_limit(before)
