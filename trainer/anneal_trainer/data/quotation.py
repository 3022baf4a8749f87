"""Tells whether the double quotes of a csv or tsv file are its quoting or a part of its texts.

A text that nobody wrote with a CSV library may begin with a quotation, which ends in the same cell, rows later or
never. Read as quoting, it makes one row of several, and nothing in the file is broken. So a reading that joins lines or
fails is held against the other one, in which a quote is a character like any other and a line is a row.
"""

from __future__ import annotations

import csv
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import Protocol, TextIO

from anneal_api.spec.data import Columns

QUOTE = '"'

_FEWEST_TO_TELL = 2
_MOST_ENCLOSED = 0.5


class Lines(Protocol):
    """What `csv.reader` returns; the standard library does not name it."""

    line_num: int

    def __next__(self) -> list[str]: ...


@dataclass(frozen=True, slots=True)
class Joined:
    """A row of several lines, each of which may be a row of its own.

    Attributes:
        row: Data row, counted from 1 in the reading that joins.
        line: Its first line.
        lines: How many lines it takes.
    """

    row: int
    line: int
    lines: int


@dataclass(frozen=True, slots=True)
class Quotation:
    """What the quotes of a file are.

    Attributes:
        literal: Whether they are characters of the cells.
        joined: Rows that may be several ones, where the file needs its quotes all the same: nobody can tell.
    """

    literal: bool = False
    joined: tuple[Joined, ...] = ()


@dataclass(slots=True)
class _Span:
    """A row that is worth a second look: it takes several lines, or it is broken."""

    row: int
    first: int
    last: int
    broken: bool
    labels: list[str | None] = field(default_factory=list)
    """The label of each line in the literal reading; None where the line alone is no row."""


def quoted_lines(text: TextIO, separator: str) -> Lines:
    """Returns a reader for which double quotes are quoting; what is wrong with them raises `csv.Error`."""
    return csv.reader(text, delimiter=separator, strict=True)


def literal_lines(text: TextIO, separator: str) -> Lines:
    """Returns a reader for which double quotes are characters and every line is a row."""
    return csv.reader(text, delimiter=separator, quoting=csv.QUOTE_NONE)


def quotation_of(text: TextIO, separator: str, columns: Columns) -> Quotation:
    """Reads a file up to twice, from its start, and tells what its double quotes are.

    They are characters if every line splits into as many cells as the header has, nothing looks as if a CSV library
    had written it, and every line that the quoted reading joins to others has a label that other rows have.

    Args:
        text: The file, seekable, opened with `newline=""`.
        separator: What stands between two cells.
        columns: Names of the columns with text and label.
    """
    names, spans = _quoted_reading(quoted_lines(text, separator))
    if not spans or not {columns.text, columns.label} <= set(names):
        return Quotation()
    text.seek(0)
    literal = _LiteralReading(names, separator, columns, spans)
    literal.read(literal_lines(text, separator))
    return literal.quotation()


def _quoted_reading(lines: Lines) -> tuple[list[str], list[_Span]]:
    names: list[str] | None = None
    spans: list[_Span] = []
    row = -1
    while True:
        first, broken, cells = lines.line_num + 1, False, list[str]()
        try:
            cells = next(lines)
        except StopIteration:
            return names or [], spans
        except csv.Error:
            broken = True
        if not cells and not broken:
            continue
        row += 1
        if names is None:
            if broken or lines.line_num > first:
                return [], []
            names = cells
        elif broken or lines.line_num > first or len(cells) != len(names):
            spans.append(_Span(row, first, lines.line_num, broken))


class _LiteralReading:
    """A file in which a quote is a character, held against the rows that are worth a second look."""

    def __init__(
        self, names: Sequence[str], separator: str, columns: Columns, spans: Sequence[_Span]
    ) -> None:
        self._names = names
        self._separator = separator
        self._at_text, self._at_label = names.index(columns.text), names.index(columns.label)
        self._spans = spans
        self._whole = True
        self._elsewhere: Counter[str] = Counter()
        self._rows = self._enclosed = 0
        self._escaped = False

    def read(self, lines: Lines) -> None:
        """Takes in every line after the header."""
        spans = iter(self._spans)
        span = next(spans, None)
        cells_of = _rows_of(lines)
        self._escaped = next(cells_of)[1] != self._names  # the header has quotes around its names
        for number, cells in cells_of:
            if number == 0:
                self._whole = False
                continue
            while span is not None and number > span.last:
                span = next(spans, None)
            suspect = span if span is not None and number >= span.first else None
            self._take(cells, suspect)

    def quotation(self) -> Quotation:
        """Returns what the quotes are."""
        known = set(self._elsewhere)
        if not self._has_quoting:
            # Where one quote takes most of the file, its labels are at least there again and again.
            inside = Counter(label for span in self._joining() for label in span.labels if label is not None)
            known |= {label for label, count in inside.items() if count >= _FEWEST_TO_TELL}
        known.discard("")
        every_label_known = all(label in known for span in self._joining() for label in span.labels)
        if self._whole and not self._has_quoting and every_label_known:
            return Quotation(literal=True)
        return Quotation(
            joined=tuple(
                Joined(span.row, span.first, span.last - span.first + 1)
                for span in self._joining()
                if not span.broken and (_may_be_rows(span.labels, known) or self._are_rows(span.labels))
            )
        )

    def _are_rows(self, labels: Sequence[str | None]) -> bool:
        """Whether lines are rows whatever their labels: texts hold commas, but hardly a tab on each of their lines."""
        whole = self._whole and not self._has_quoting and self._separator == "\t"
        return whole and len(labels) > 1 and all(labels)

    def _joining(self) -> Iterator[_Span]:
        return (span for span in self._spans if span.last > span.first)

    @property
    def _has_quoting(self) -> bool:
        """Whether a CSV library must have written the other rows."""
        return self._escaped or self._enclosed > _MOST_ENCLOSED * self._rows

    def _take(self, cells: list[str], span: _Span | None) -> None:
        is_row = len(cells) == len(self._names)
        self._whole &= is_row
        label = cells[self._at_label] if is_row else None
        if span is not None and span.last > span.first:
            span.labels.append(label)
        elif label is not None:
            self._elsewhere[label] += 1
            self._rows += 1
            self._enclosed += _is_enclosed(cells[self._at_text])
            self._escaped |= _is_enclosed(label) or any(map(_is_escaped, cells))


def _rows_of(lines: Lines) -> Iterator[tuple[int, list[str]]]:
    """Yields line and cells of all lines that are not blank; line 0 for one that is too long."""
    while True:
        try:
            cells = next(lines)
        except StopIteration:
            return
        except csv.Error:
            yield 0, []
            continue
        if cells:
            yield lines.line_num, cells


def _may_be_rows(labels: Sequence[str | None], known: set[str]) -> bool:
    """Whether the lines of one row look like rows: the last, at least half of all, and of two lines both."""
    is_row = [label is not None and _is_known(label, known) for label in labels]
    return sum(is_row) > 1 and is_row[-1] and 2 * sum(is_row) >= len(is_row)


def _is_known(label: str, known: set[str]) -> bool:
    # The quote that opens or closes may stand in the label's own cell.
    return label in known or (label.count(QUOTE) == 1 and label.replace(QUOTE, "") in known)


def _is_enclosed(cell: str) -> bool:
    return len(cell) > 1 and cell.startswith(QUOTE) and cell.endswith(QUOTE)


def _is_escaped(cell: str) -> bool:
    """Whether a cell is quoted and either empty or holds a quote that is doubled or behind a backslash."""
    if not _is_enclosed(cell):
        return False
    inner = cell[1:-1]
    bare = inner.replace(QUOTE * 2, "").replace(f"\\{QUOTE}", "")
    return not inner or (QUOTE in inner and QUOTE not in bare)
