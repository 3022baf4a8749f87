"""Labeled texts in memory, and what identifies them."""

from __future__ import annotations

import hashlib
import unicodedata
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from anneal_api.report import DroppedRows


@dataclass(frozen=True, slots=True)
class Rows:
    """Labeled texts. The three lists are equally long.

    Attributes:
        texts: The texts, as they were read.
        labels: The label of each text.
        sources: Where each row was read: file name and data row, counted from 1, for example `train.csv:17`.
    """

    texts: list[str]
    labels: list[str]
    sources: list[str]

    def __len__(self) -> int:
        return len(self.texts)

    def select(self, indices: Sequence[int] | NDArray[np.int64]) -> Rows:
        """Returns the rows at the given positions, in the given order."""
        return Rows(
            [self.texts[index] for index in indices],
            [self.labels[index] for index in indices],
            [self.sources[index] for index in indices],
        )


@dataclass(frozen=True, slots=True)
class LeftOut:
    """Rows of one split that are not used, for one reason.

    Attributes:
        split: The split.
        reason: Why, in a few words that are always the same.
        rows: How many.
        of: Rows of the split with them.
        where: Where the first of them are, in words.
        what: What is wrong with them, half a sentence.
        remedy: What to do about it, half a sentence.
    """

    split: str
    reason: str
    rows: int
    of: int
    where: str
    what: str
    remedy: str

    @property
    def record(self) -> DroppedRows:
        """What the report says of them."""
        return DroppedRows(split=self.split, reason=self.reason, rows=self.rows, of=self.of, where=self.where)


@dataclass(frozen=True, slots=True)
class Splits:
    """The rows to learn from, to select on and to judge by.

    Attributes:
        train: Rows to learn from.
        validation: Rows that pick checkpoints and variants.
        test: Rows that the gate reads.
        left_out: What is not among them, although the sources have it.
    """

    train: Rows
    validation: Rows
    test: Rows
    left_out: tuple[LeftOut, ...] = ()

    def items(self) -> Iterator[tuple[str, Rows]]:
        """Yields name and rows of each split: train, validation, test."""
        yield "train", self.train
        yield "validation", self.validation
        yield "test", self.test


def place(source: str, column: str = "") -> str:
    """Returns a row's source in words: `train.csv, row 17, column text`."""
    name, _, row = source.rpartition(":")
    return f"{name}, row {row}" + (f", column {column}" if column else "")


def normalize(text: str) -> str:
    """Returns the form in which two texts count as the same: NFC, case folded, spaces collapsed."""
    return " ".join(unicodedata.normalize("NFC", text).casefold().split())


def row_hashes(rows: Rows) -> NDArray[np.uint64]:
    """Returns 8 bytes of BLAKE2b over each normalized text, [rows].

    Equal hashes mean the same text: among 10 million different texts the chance of any collision is 3e-6.
    The hashes do not depend on platform or library versions, so they can be kept beside a published model.
    """
    digests = b"".join(
        hashlib.blake2b(normalize(text).encode(), digest_size=8).digest() for text in rows.texts
    )
    return np.frombuffer(digests, dtype="<u8").astype(np.uint64)


def digest(splits: Splits) -> str:
    """Returns the SHA-256, in hex, over texts and labels of all splits in order.

    Sources do not count: a renamed file holds the same data.
    """
    state = hashlib.sha256()
    for name, rows in splits.items():
        state.update(f"{name} {len(rows)}\n".encode())
        for text, label in zip(rows.texts, rows.labels, strict=True):
            for part in (text.encode(), label.encode()):
                state.update(len(part).to_bytes(8, "little"))
                state.update(part)
    return state.hexdigest()
