"""Rows that nothing can be learned from or judged by: left out and counted, or too many of them. Pure.

Rows with an empty text or without a label go before the splits are cut, so that no split is shorter than asked for;
rows whose label training never sees go after the cut.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import replace

from anneal_api.errors import Problem
from anneal_api.report import Finding
from anneal_api.spec.data import Columns
from anneal_api.texts import is_blank
from anneal_trainer.data.row_checks import error, places, unseen_label, warning
from anneal_trainer.data.rows import LeftOut, Rows, Splits

EMPTY_TEXT = "empty text"
NO_LABEL = "no label"
UNSEEN_LABEL = "label not in training"

_EXAMPLES = 5
_ROUNDING = 1e-9


def without_blanks(split: str, rows: Rows, columns: Columns) -> tuple[Rows, list[LeftOut]]:
    """Returns the rows that have a text and a label, and what is left out.

    Args:
        split: Name of the split that they are read for.
        rows: The rows.
        columns: Names of the columns, for messages.
    """
    empty = [index for index, text in enumerate(rows.texts) if is_blank(text)]
    unlabeled = [
        index
        for index, label in enumerate(rows.labels)
        if is_blank(label) and not is_blank(rows.texts[index])
    ]
    left_out = []
    for reason, what, indices, column in (
        (EMPTY_TEXT, "the text is empty", empty, columns.text),
        (NO_LABEL, "the label is missing", unlabeled, columns.label),
    ):
        if indices:
            where = places(rows, indices, column)
            left_out.append(LeftOut(split, reason, len(indices), len(rows), where, what, "Fill them in"))
    return _without(rows, {*empty, *unlabeled}), left_out


def without_unseen_labels(
    splits: Splits, before: Sequence[LeftOut], columns: Columns
) -> tuple[Splits, list[LeftOut]]:
    """Returns the splits without validation and test rows whose label training never sees, and what is left out.

    Args:
        splits: The splits, cut.
        before: What was left out of them before.
        columns: Names of the columns, for messages.
    """
    known = set(splits.train.labels)
    kept: dict[str, Rows] = {}
    left_out: list[LeftOut] = []
    for split, rows in (("validation", splits.validation), ("test", splits.test)):
        unseen = [index for index, label in enumerate(rows.labels) if label not in known]
        kept[split] = _without(rows, set(unseen))
        if not unseen:
            continue
        of = len(rows) + sum(each.rows for each in before if each.split == split)
        counts = Counter(rows.labels[index] for index in unseen)
        told = [_unseen(label, count, known) for label, count in list(counts.items())[:_EXAMPLES]]
        if len(counts) > len(told):
            told.append(f"{len(counts) - len(told)} more labels are not among the training rows")
        where = places(rows, unseen, columns.label)
        remedy = "Write labels the same way everywhere, add training rows of them"
        left_out.append(LeftOut(split, UNSEEN_LABEL, len(unseen), of, where, "; ".join(told), remedy))
    return replace(splits, validation=kept["validation"], test=kept["test"]), left_out


def files_without_rows(rows: Rows, kept: Rows) -> Iterator[Problem]:
    """Yields a problem for each file of which nothing is left: most likely its columns are others.

    Args:
        rows: All rows that were read.
        kept: Those that are left of them.
    """
    counts, left = (Counter(source.rpartition(":")[0] for source in each.sources) for each in (rows, kept))
    for file, count in counts.items():
        if file not in left:
            yield Problem(
                f"None of its {count} {'row' if count == 1 else 'rows'} has both a text and a label.",
                file,
                "Check spec.data.columns, or leave the file out.",
            )


def findings_of(left_out: Iterable[LeftOut], max_share: float) -> Iterator[Finding]:
    """Yields what preflight says of rows that were left out: errors where a split loses too many.

    Args:
        left_out: What was left out.
        max_share: Share of its rows that a split may lose.
    """
    every = tuple(left_out)
    lost: Counter[str] = Counter()
    for each in every:
        lost[each.split] += each.rows
    for each in every:
        rows = f"{each.rows} of the {each.of} {each.split} rows ({each.rows / each.of:.1%})"
        if lost[each.split] > max_share * each.of + _ROUNDING:
            yield error(
                f"{rows} cannot be used: {each.what}. A split may lose {100 * max_share:g}% of its rows; "
                f"this one loses {lost[each.split] / each.of:.1%}.",
                each.where,
                f"{each.remedy}, or raise spec.data.invalidRows.maxShare.",
            )
        else:
            verb = "is" if each.rows == 1 else "are"
            yield warning(
                f"{rows} {verb} left out: {each.what}.",
                each.where,
                f"{each.remedy}, or set spec.data.invalidRows.action: Refuse to stop at such rows.",
            )


def problems_of(left_out: Iterable[LeftOut], max_share: float) -> list[Problem]:
    """Returns the errors among `findings_of`, as problems."""
    found = findings_of(left_out, max_share)
    return [Problem(each.what, each.where, each.remedy) for each in found if each.level == "error"]


def _unseen(label: str, count: int, known: set[str]) -> str:
    what, _ = unseen_label(label, f"{count} {'row' if count == 1 else 'rows'}", known)
    return what[0].lower() + what[1:].removesuffix(".")


def _without(rows: Rows, indices: set[int]) -> Rows:
    return rows.select([index for index in range(len(rows)) if index not in indices]) if indices else rows
