"""What can be wrong with rows that could be read: texts, labels, repetitions, leakage, balance. Pure.

Findings name files, rows and columns and quote labels, never texts: they are published with the report.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Iterator, Sequence
from itertools import combinations

import numpy as np
from numpy.typing import NDArray

from anneal_api.report import Finding
from anneal_api.spec.data import Columns
from anneal_api.texts import is_blank
from anneal_trainer.data.label_forms import (
    differ_in_case_only,
    escaped,
    has_invisible_ends,
    quoted,
    same_among,
    same_labels,
)
from anneal_trainer.data.problems import did_you_mean, listed
from anneal_trainer.data.rows import Rows, Splits, place, row_hashes

_EXAMPLES = 5
# What pandas, NumPy, SQL and spreadsheets write for nothing. `none` is not among it: many data sets have such a class.
_MISSING_WORDS = frozenset(
    {"nan", "NaN", "NAN", "None", "null", "Null", "NULL", "<NA>", "NA", "NaT", "N/A", "n/a", "#N/A", "#NA"}
)
_RARE_SHARE = 0.05
_RARE_ROWS = 10
_MOST_LEAKED = 0.2
_WORTH_A_NOTE = 0.02
_TYPICAL_ACCURACY = 0.9
_FEWEST_TEST_ROWS = 100
_MOST_DISTINCT = 0.5
_FEWEST_ROWS_TO_TELL = 10


def check_rows(splits: Splits, columns: Columns) -> Iterator[Finding]:
    """Yields all findings about rows.

    Args:
        splits: The rows.
        columns: Names of the columns, for messages.
    """
    for name, rows in splits.items():
        yield from check_cells(name, rows, columns)
        yield from check_missing_words(name, rows, columns)
    yield from check_labels(splits, columns)
    hashes = {name: row_hashes(rows) for name, rows in splits.items()}
    for name, rows in splits.items():
        yield from check_repetitions(name, rows, hashes[name], columns)
    yield from check_leakage(splits, hashes)
    yield from check_balance(splits, columns)
    yield from check_test_size(splits.test)


def check_cells(name: str, rows: Rows, columns: Columns) -> Iterator[Finding]:
    """Finds empty texts and missing labels of one split."""
    empty = [index for index, text in enumerate(rows.texts) if is_blank(text)]
    if empty:
        what = f"{_count(empty, 'text')} of the {name} rows {_is(empty)} empty."
        yield error(what, places(rows, empty, columns.text), "Fill them in or leave the rows out.")
    unlabeled = [index for index, label in enumerate(rows.labels) if is_blank(label)]
    if unlabeled:
        what = f"{_count(unlabeled, 'label')} of the {name} rows {_is(unlabeled)} missing."
        yield error(what, places(rows, unlabeled, columns.label), "Fill them in or leave the rows out.")


def check_missing_words(name: str, rows: Rows, columns: Columns) -> Iterator[Finding]:
    """Finds texts and labels of one split that are nothing but the word for a missing cell."""
    for cells, noun, column in ((rows.texts, "text", columns.text), (rows.labels, "label", columns.label)):
        by_word: dict[str, list[int]] = {}
        for index, cell in enumerate(cells):
            if cell in _MISSING_WORDS:
                by_word.setdefault(cell, []).append(index)
        for word, indices in by_word.items():
            yield warning(
                f"{_count(indices, noun)} of the {name} rows {_is(indices)} nothing but '{word}', as missing cells are "
                "written that became words.",
                places(rows, indices, column),
                f"If nothing is meant, empty the cells: such rows are left out. If '{word}' is meant, all is well.",
            )


def check_labels(splits: Splits, columns: Columns) -> Iterator[Finding]:
    """Finds too few labels, labels that training never sees, and labels that differ in writing only."""
    known = Counter(label for label in splits.train.labels if not is_blank(label))
    column = f"column {columns.label}"
    if len(known) > _MOST_DISTINCT * len(splits.train) > _FEWEST_ROWS_TO_TELL:
        what = f"The {len(splits.train)} training rows have {len(known)} different labels."
        yield warning(what, f"spec.data.train, {column}", "Check that it is the column of the labels.")
    if len(known) < 2:  # noqa: PLR2004  one label leaves nothing to tell apart
        what = f"The training rows have {_count(known, 'label')}{f', {listed(known)}' if known else ''}."
        yield error(what, f"spec.data.train, {column}", "A classifier needs at least two.")
    for name, rows in (("validation", splits.validation), ("test", splits.test)):
        yield from _check_unseen(name, rows, known, columns)
        absent = sorted(known.keys() - set(rows.labels))
        if absent:
            what = f"No {name} row has the label {listed(absent)}, so it is not scored."
            yield warning(what, f"spec.data.{name}, {column}", "Add rows of it.")
    yield from _check_writing(known, f"spec.data.train, {column}")


def _check_writing(known: Counter[str], where: str) -> Iterator[Finding]:
    """Finds labels that seem to mean the same, and labels that hold what nobody sees."""
    for same in same_labels(known):
        how = "case or spaces" if differ_in_case_only(same) else "how they are written"
        what = f"The labels {', '.join(quoted(same))} differ in {how} only, and count as different."
        yield warning(what, where, "Write them the same way if they mean the same.")
    marked = [label for label in sorted(known) if has_invisible_ends(label)]
    if marked:
        shown = ", ".join(f"'{escaped(label)}'" for label in marked[:_EXAMPLES])
        what = f"{_count(marked, 'label')} with an invisible character at one end: {shown}."
        yield warning(what, where, "Take it out: the served model answers with it.")


def _check_unseen(name: str, rows: Rows, known: Counter[str], columns: Columns) -> Iterator[Finding]:
    unseen: dict[str, list[int]] = {}
    for index, label in enumerate(rows.labels):
        if not is_blank(label) and label not in known:
            unseen.setdefault(label, []).append(index)
    for label, where in list(unseen.items())[:_EXAMPLES]:
        what, remedy = unseen_label(label, _count(where, f"{name} row"), known)
        yield error(what, places(rows, where, columns.label), remedy)
    if len(unseen) > _EXAMPLES:
        what = f"{len(unseen) - _EXAMPLES} more labels of the {name} rows are not among the training rows."
        yield error(
            what, f"spec.data.{name}, column {columns.label}", "Check that it is the column of the labels."
        )


def unseen_label(label: str, of_rows: str, known: Collection[str]) -> tuple[str, str]:
    """Returns what is wrong with a label that training never sees, and what to do about it.

    Args:
        label: The label.
        of_rows: The rows that have it, in words, for example `2 test rows`.
        known: The labels of the training rows.
    """
    same = same_among(label, known)
    if same:
        one, other = quoted([label, same])
        what = f"The label {one} of {of_rows} is written {other} in the training rows."
        return what, "Write it the same way everywhere."
    meant = did_you_mean(label, known)
    return (
        f"The label '{label}' of {of_rows} is not among the training rows.",
        f"Did you mean '{meant}'?" if meant else f"The training labels are {listed(sorted(known))}.",
    )


def check_repetitions(
    name: str, rows: Rows, hashes: NDArray[np.uint64], columns: Columns
) -> Iterator[Finding]:
    """Finds texts that are there several times in one split, and those with contradictory labels."""
    groups = [group for group in _same(hashes) if not is_blank(rows.texts[group[0]])]
    conflicting = [group for group in groups if len({rows.labels[index] for index in group}) > 1]
    if conflicting:
        first = ", ".join(
            " and ".join(f"{place(rows.sources[i])} '{rows.labels[i]}'" for i in _differing(rows, group))
            for group in conflicting[:_EXAMPLES]
        )
        what = f"{_count(conflicting, f'{name} text')} {_is(conflicting)} there with different labels."
        yield warning(what, f"{first}, column {columns.label}", "Decide on one label each.")
    again = sorted(index for group in groups for index in group[1:])
    if again:
        share = f"{len(again) / len(rows):.1%}"
        what = f"{_count(again, f'{name} row')} ({share}) {_verb(again, 'repeat')} an earlier text."
        yield warning(
            what, places(rows, again, columns.text), "Leave them out: what is repeated weighs more."
        )


def check_leakage(splits: Splits, hashes: dict[str, NDArray[np.uint64]]) -> Iterator[Finding]:
    """Finds texts that are in two splits, which makes scores look better than they are."""
    by_name = dict(splits.items())
    for one, other in combinations(by_name, 2):
        rows = by_name[other]
        shared = np.flatnonzero(np.isin(hashes[other], hashes[one])).tolist()
        leaked = [index for index in shared if not is_blank(rows.texts[index])]
        if not leaked:
            continue
        share = len(leaked) / len(rows)
        first = [(i, int(np.flatnonzero(hashes[one] == hashes[other][i])[0])) for i in leaked[:_EXAMPLES]]
        pairs = "; ".join(
            f"{place(rows.sources[i])} is {place(by_name[one].sources[earlier])}" for i, earlier in first
        )
        what = f"{_count(leaked, f'{other} row')} ({share:.1%}) {_is(leaked)} also among the {one} rows."
        grave = other == "test" and share > _MOST_LEAKED
        remedy = "Leave them out of one of the two" + (": the gate would read memory." if grave else ".")
        yield (error if grave else warning)(what, pairs, remedy)


def check_balance(splits: Splits, columns: Columns) -> Iterator[Finding]:
    """Finds labels that training hardly sees."""
    counts = Counter(label for label in splits.train.labels if not is_blank(label))
    total = sum(counts.values())
    # With many labels, 5 % is more than a fair share: then half of that share is what counts as rare.
    rare_share = min(_RARE_SHARE, 0.5 / max(1, len(counts)))
    rare = {
        label: count
        for label, count in sorted(counts.items(), key=lambda entry: (entry[1], entry[0]))
        if count < _RARE_ROWS or count < rare_share * total
    }
    if rare:
        shown = ", ".join(f"'{label}' {n} ({n / total:.1%})" for label, n in list(rare.items())[:_EXAMPLES])
        more = f" and {len(rare) - _EXAMPLES} more" if len(rare) > _EXAMPLES else ""
        yield warning(
            f"Few training rows have the label {shown}{more}.",
            f"spec.data.train, column {columns.label}",
            "Add rows of it; look at its own line in the report, and prefer f1 to accuracy as a gate.",
        )


def check_test_size(test: Rows) -> Iterator[Finding]:
    """Finds a test split too small to tell good from lucky."""
    if not test:
        return
    half_width = 1.96 * (_TYPICAL_ACCURACY * (1 - _TYPICAL_ACCURACY) / len(test)) ** 0.5
    if half_width > _WORTH_A_NOTE:
        level = warning if len(test) < _FEWEST_TEST_ROWS else note
        yield level(
            f"With {_count(test, 'test row')}, an accuracy of 90 % is known to ±{100 * half_width:.1f} "
            "points (95 % interval).",
            "spec.data.test",
            "Do not set a gate finer than that, or test on more rows.",
        )


def places(rows: Rows, indices: Sequence[int], column: str) -> str:
    """Returns where the first of some rows are, in words: `train.csv, rows 3, 9 and 4 more, column text`."""
    shown = [rows.sources[index].rpartition(":") for index in indices[:_EXAMPLES]]
    more = f" and {len(indices) - len(shown)} more" if len(indices) > len(shown) else ""
    files = {file for file, _, _ in shown}
    if len(files) > 1:
        named = "; ".join(f"{file}, row {row}" for file, _, row in shown)
    else:
        named = (
            f"{files.pop()}, {'rows' if len(indices) > 1 else 'row'} {', '.join(row for _, _, row in shown)}"
        )
    return f"{named}{more}, column {column}"


def error(what: str, where: str, remedy: str) -> Finding:
    """Returns a finding that stops the run."""
    return Finding(level="error", what=what, where=where, remedy=remedy)


def warning(what: str, where: str, remedy: str) -> Finding:
    """Returns a finding that a person should look at."""
    return Finding(level="warning", what=what, where=where, remedy=remedy)


def note(what: str, where: str, remedy: str = "") -> Finding:
    """Returns a finding that is good to know."""
    return Finding(level="note", what=what, where=where, remedy=remedy)


def _same(hashes: NDArray[np.uint64]) -> list[list[int]]:
    """Returns the positions of equal values, one list per value that is there several times, in order."""
    order = np.argsort(hashes, kind="stable")
    ordered = hashes[order]
    repeated = np.unique(ordered[1:][ordered[1:] == ordered[:-1]])
    starts, ends = (np.searchsorted(ordered, repeated, side=side) for side in ("left", "right"))
    return sorted(order[start:end].tolist() for start, end in zip(starts, ends, strict=True))


def _differing(rows: Rows, group: Sequence[int]) -> tuple[int, int]:
    first = group[0]
    return first, next(index for index in group if rows.labels[index] != rows.labels[first])


def _count(things: Sequence[object] | Counter[str] | Rows, noun: str) -> str:
    return f"{len(things)} {noun}{'' if len(things) == 1 else 's'}"


def _is(things: Sequence[object]) -> str:
    return "is" if len(things) == 1 else "are"


def _verb(things: Sequence[object], verb: str) -> str:
    return f"{verb}s" if len(things) == 1 else verb
