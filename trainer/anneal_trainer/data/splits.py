"""Reads the three splits, or cuts validation and test rows out of the training source.

The cut orders rows by a hash of seed and text and takes contiguous pieces of that order. So it is the same on
every platform and with every library version, and repeated texts lie together: few end up on both sides.
"""

from __future__ import annotations

import hashlib
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from anneal_api.errors import DataInvalid, Problem
from anneal_api.spec.data import Data, DataSource, InvalidRowsAction, Split
from anneal_api.texts import is_blank
from anneal_trainer.data.invalid_rows import (
    files_without_rows,
    problems_of,
    without_blanks,
    without_unseen_labels,
)
from anneal_trainer.data.problems import ProblemLog
from anneal_trainer.data.rows import LeftOut, Rows, Splits, normalize
from anneal_trainer.data.sources import read_rows

_CUT_FIELDS = ("validation", "test")
_UNUSABLE = "The data cannot be trained on."


def load_splits(data: Data, *, base_folder: Path) -> Splits:
    """Reads train, validation and test rows; those that cannot be used are left out where the manifest says so.

    Args:
        data: The manifest's data part.
        base_folder: Folder that relative paths start from: the manifest's.

    Raises:
        DataInvalid: A source cannot be read, or the rows cannot be cut as asked. All problems are in it.
    """
    log = ProblemLog()
    for problem in _contradictions(data):
        log.add(problem)
    sources = {"train": data.train, "validation": data.validation, "test": data.test}
    read = {name: _read(name, source, data, base_folder, log) for name, source in sources.items() if source}
    log.raise_any("The data cannot be read.", where="spec.data")
    if data.invalid_rows.action is not InvalidRowsAction.DROP:
        return _cut_out(read, data)
    left_out: list[LeftOut] = []
    for name, rows in read.items():
        read[name], blank = without_blanks(name, rows, data.columns)
        left_out += blank
        for problem in files_without_rows(rows, read[name]):
            log.add(problem)
    too_many = problems_of(left_out, data.invalid_rows.max_share)
    if log.count:
        raise DataInvalid(_UNUSABLE, where="spec.data", problems=[*log.problems, *too_many])
    try:
        splits = _cut_out(read, data)
    except DataInvalid as error:
        if not too_many:
            raise
        raise DataInvalid(_UNUSABLE, where="spec.data", problems=[*too_many, *error.problems]) from error
    splits, unseen = without_unseen_labels(splits, left_out, data.columns)
    return replace(splits, left_out=(*left_out, *unseen))


def _cut_out(read: dict[str, Rows], data: Data) -> Splits:
    """Returns the splits: those that have a source, and the others cut out of the training rows."""
    fractions = {field: getattr(data.split, field) for field in _CUT_FIELDS if field not in read}
    if not fractions:
        return Splits(read["train"], read["validation"], read["test"])
    parts = cut(read["train"], fractions, split=data.split, label_column=data.columns.label)
    own = {name: rows for name, rows in read.items() if name != "train"}
    by_name = {**parts, **own}
    return Splits(by_name["train"], by_name["validation"], by_name["test"])


def cut(
    rows: Rows, fractions: dict[str, float], *, split: Split, label_column: str = "label"
) -> dict[str, Rows]:
    """Cuts rows into parts; what is left is `train`. Within a part, rows keep their order.

    Stratified, each part has of each label its fraction, rounded down or up, and at least one row. Rows
    without a label stay in `train`.

    Args:
        rows: The rows to cut.
        fractions: Share of each part but `train`.
        split: Seed, and whether to stratify.
        label_column: The label column's name in messages.

    Raises:
        DataInvalid: A label has fewer rows than there are parts, or a part would be empty.
    """
    log = ProblemLog()
    parts: dict[str, list[int]] = {name: [] for name in ("train", *fractions)}
    for label, members in _strata(rows, stratify=split.stratify).items():
        if split.stratify and is_blank(label):
            parts["train"].extend(members)
        elif len(members) < len(parts):
            log.add(_too_few(label, len(members), len(parts), label_column, stratify=split.stratify))
        else:
            ordered = _shuffled(rows, members, split.seed)
            start = 0
            # Validation and test come first, so that a change of one fraction moves as few rows as possible.
            for name, size in _sizes(len(members), fractions).items():
                parts[name].extend(ordered[start : start + size])
                start += size
    log.raise_any("The rows cannot be cut into train, validation and test.", where="spec.data.split")
    return {name: rows.select(sorted(members)) for name, members in parts.items()}


def _read(name: str, source: DataSource, data: Data, base_folder: Path, log: ProblemLog) -> Rows:
    try:
        return read_rows(source, data.columns, default_split=name, base_folder=base_folder)
    except DataInvalid as error:
        log.absorb(error)
        return Rows([], [], [])


def _contradictions(data: Data) -> list[Problem]:
    problems = []
    for field in _CUT_FIELDS:
        given, fraction = getattr(data, field), getattr(data.split, field)
        if given is None and fraction is None:
            problems.append(
                Problem(
                    f"There are no {field} rows.",
                    f"spec.data.{field}",
                    f"Name a source, or cut them out of the training rows with spec.data.split.{field}: 0.1.",
                )
            )
        elif given is not None and fraction is not None:
            problems.append(
                Problem(
                    f"The {field} rows have a source of their own, so there is nothing to cut.",
                    f"spec.data.split.{field}",
                    f"Keep either spec.data.{field} or spec.data.split.{field}.",
                )
            )
    if sum(getattr(data.split, field) or 0.0 for field in _CUT_FIELDS) >= 1:
        problems.append(
            Problem(
                "Validation and test together take all rows.",
                "spec.data.split",
                "Leave most rows for training, for example validation: 0.1, test: 0.1.",
            )
        )
    return problems


def _strata(rows: Rows, *, stratify: bool) -> dict[str, list[int]]:
    """Returns the positions of each label's rows; of all rows under one key where nothing is stratified."""
    strata: dict[str, list[int]] = defaultdict(list)
    for index, label in enumerate(rows.labels):
        strata[label if stratify else ""].append(index)
    return dict(sorted(strata.items()))


def _too_few(label: str, members: int, parts: int, label_column: str, *, stratify: bool) -> Problem:
    count = f"{members} {'row' if members == 1 else 'rows'}"
    if not stratify:
        return Problem(f"There are {count} for {parts} parts.", "spec.data.train", "Add rows.")
    return Problem(
        f"The label '{label}' has {count}, and each of the {parts} parts needs at least one.",
        f"spec.data.train, column {label_column}",
        "Add rows of it, leave it out, or set spec.data.split.stratify: false.",
    )


def _shuffled(rows: Rows, members: Sequence[int], seed: int) -> list[int]:
    salt = seed.to_bytes(8, "little")

    def rank(index: int) -> tuple[bytes, int]:
        return hashlib.blake2b(
            normalize(rows.texts[index]).encode(), digest_size=16, salt=salt
        ).digest(), index

    return sorted(members, key=rank)


def _sizes(count: int, fractions: dict[str, float]) -> dict[str, int]:
    """Returns the rows of each part, `train` last, by largest remainders; every part gets at least one."""
    shares = {**fractions, "train": 1 - sum(fractions.values())}
    sizes = {name: int(count * share) for name, share in shares.items()}
    by_remainder = sorted(shares, key=lambda name: sizes[name] - count * shares[name])
    for name in by_remainder[: count - sum(sizes.values())]:
        sizes[name] += 1
    for name in [name for name, size in sizes.items() if size == 0]:
        sizes[max(sizes, key=lambda other: sizes[other])] -= 1
        sizes[name] = 1
    return sizes
