"""Tokenized splits on disk: written once, memory-mapped by every training process.

A folder holds `labels.json`, written last (without it the folder is incomplete), and per split a folder with

* `ids.npy`: int32, the token ids of all rows in a row, special tokens included, cut to `maxLength`;
* `offsets.npy`: int64 [rows + 1], where each row starts, and the end;
* `labels.npy`: int32 [rows], positions in `labels.json`;
* `rows.jsonl`: text, label and source of each row.

The same rows give the same bytes on every platform, because later stages are keyed by them.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from anneal_api.errors import DataInvalid
from anneal_trainer.base_model import BaseModel, describe
from anneal_trainer.data.rows import Rows, Splits

_LABELS_FILE = "labels.json"
_SPLITS = ("train", "validation", "test")
_CHUNK_ROWS = 4096


class Encoder(Protocol):
    """The part of a codec that turns texts into token ids."""

    def encode(self, texts: Sequence[str]) -> list[NDArray[np.int32]]:
        """Returns the token ids of each text."""
        ...


@dataclass(frozen=True)
class PreparedSplit:
    """One tokenized split.

    Attributes:
        folder: Where it lies.
        labels: Position of each row's label, int32 [rows].
        lengths: Tokens of each row, special tokens included, after the cut to `maxLength`, int64 [rows].
    """

    folder: Path
    labels: NDArray[np.int32]
    lengths: NDArray[np.int64]
    _tokens: NDArray[np.int32]
    _offsets: NDArray[np.int64]

    @classmethod
    def open(cls, folder: Path) -> PreparedSplit:
        """Opens a split. Tokens stay on disk until they are read.

        Raises:
            DataInvalid: The folder is incomplete or its files do not fit together.
        """
        try:
            tokens = np.load(folder / "ids.npy", mmap_mode="r")
            offsets = np.load(folder / "offsets.npy")
            labels = np.load(folder / "labels.npy")
        except (OSError, ValueError) as error:
            raise _incomplete(folder) from error
        if len(offsets) != len(labels) + 1 or offsets[-1] != len(tokens):
            raise _incomplete(folder)
        return cls(folder, labels, np.diff(offsets), tokens, offsets)

    def __len__(self) -> int:
        return len(self.labels)

    def ids(self, index: int) -> NDArray[np.int32]:
        """Returns the token ids of a row, int32 [length]: a view into the file, read-only."""
        return self._tokens[self._offsets[index] : self._offsets[index + 1]]

    def rows(self) -> Rows:
        """Reads texts, labels and sources into memory."""
        rows = Rows([], [], [])
        with (self.folder / "rows.jsonl").open(encoding="utf-8", newline="\n") as lines:
            for line in lines:
                text, label, source = json.loads(line)
                rows.texts.append(text)
                rows.labels.append(label)
                rows.sources.append(source)
        return rows


@dataclass(frozen=True, slots=True)
class PreparedData:
    """All tokenized splits, and the labels in the order of the model's outputs."""

    labels: list[str]
    train: PreparedSplit
    validation: PreparedSplit
    test: PreparedSplit

    @classmethod
    def open(cls, folder: Path) -> PreparedData:
        """Opens what `write_prepared` wrote into a folder.

        Raises:
            DataInvalid: The folder is incomplete or its files do not fit together.
        """
        try:
            labels = json.loads((folder / _LABELS_FILE).read_text(encoding="utf-8"))
        except (OSError, ValueError) as error:
            raise _incomplete(folder) from error
        return cls(labels, *(PreparedSplit.open(folder / name) for name in _SPLITS))


def write_prepared(folder: Path, splits: Splits, codec: Encoder, labels: Sequence[str]) -> None:
    """Tokenizes all splits into a folder, for `PreparedData.open`.

    Args:
        folder: Gets the files; others in it are left alone.
        splits: The rows. Every label must be among `labels`.
        codec: Makes token ids; the one that later serves.
        labels: The labels in the order of the model's outputs.
    """
    positions = {label: position for position, label in enumerate(labels)}
    for name, rows in splits.items():
        _write_split(folder / name, rows, codec, positions)
    content = json.dumps(list(labels), ensure_ascii=False)
    (folder / _LABELS_FILE).write_text(content, encoding="utf-8", newline="\n")


def label_order(splits: Splits, base: BaseModel | None = None) -> list[str]:
    """Returns the training labels in the order of the model's outputs.

    A base model that answers exactly these labels keeps its order, and so its head. Else integers are sorted
    as numbers and anything else as text.
    """
    labels = set(splits.train.labels)
    known = describe(base).labels if base else ()
    if labels == set(known) and len(known) == len(labels):
        return list(known)
    if all(_is_integer(label) for label in labels):
        return sorted(labels, key=lambda label: (int(label), label))
    return sorted(labels)


def _is_integer(label: str) -> bool:
    return label.isascii() and label.removeprefix("-").isdigit()


def _write_split(folder: Path, rows: Rows, codec: Encoder, positions: dict[str, int]) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    pieces: list[NDArray[np.int32]] = []
    for start in range(0, len(rows), _CHUNK_ROWS):
        pieces.extend(codec.encode(rows.texts[start : start + _CHUNK_ROWS]))
    tokens = np.concatenate([np.empty(0, np.int32), *pieces]).astype("<i4")
    offsets = np.concatenate([[0], np.cumsum([len(piece) for piece in pieces], dtype=np.int64)]).astype("<i8")
    np.save(folder / "ids.npy", tokens)
    np.save(folder / "offsets.npy", offsets)
    np.save(folder / "labels.npy", np.array([positions[label] for label in rows.labels], dtype="<i4"))
    with (folder / "rows.jsonl").open("w", encoding="utf-8", newline="\n") as file:
        for row in zip(rows.texts, rows.labels, rows.sources, strict=True):
            file.write(json.dumps(row, ensure_ascii=False) + "\n")


def _incomplete(folder: Path) -> DataInvalid:
    return DataInvalid(
        "The tokenized data is incomplete or was altered.",
        where=str(folder),
        remedy="Run again with --fresh to make it anew.",
    )
