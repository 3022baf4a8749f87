"""The rows that the training line learns from: the quickstart's sentences, and a long-tailed variant of them."""

from __future__ import annotations

import csv
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from tests.benchmarks.models import QUICKSTART
from tokenizers import Tokenizer

SPLITS = ("train", "validation", "test")

_MEAN_TOKENS = 70.0
_SPREAD = 0.8
"""Standard deviation of the logarithm of a length: a median of 51 tokens, and one row in 25 over 200."""
_SEED = 7


@dataclass(frozen=True)
class TrainingData:
    """Three CSV files.

    Attributes:
        name: What the table calls it.
        folder: Holds `train.csv`, `validation.csv`, `test.csv` with the columns `text` and `label`.
        max_length: Where rows are cut, in tokens.
    """

    name: str
    folder: Path
    max_length: int

    def file(self, split: str) -> Path:
        """Returns a split's file."""
        return self.folder / f"{split}.csv"


def short_sentences(folder: Path, *, rows: dict[str, int]) -> TrainingData:
    """Writes the first rows of each of the quickstart's files: 25 tokens a row on average, 70 at most.

    Args:
        folder: Gets the files.
        rows: How many rows of each split.
    """
    for split in SPLITS:
        _write(folder / f"{split}.csv", _quickstart(split)[: rows[split]])
    return TrainingData("short", folder, 128)


def long_tail(folder: Path, tokenizer: Tokenizer, *, rows: dict[str, int]) -> TrainingData:
    """Writes rows of log-normal length, mean 70 tokens and 256 at most, as reviews, tickets and mails have it.

    A row is one or more sentences of one label and one split, put together until the drawn length is reached.

    Args:
        folder: Gets the files.
        tokenizer: Counts tokens; neither cuts nor fills up.
        rows: How many rows of each split.
    """
    random = np.random.default_rng(_SEED)
    for split in SPLITS:
        sentences = _quickstart(split)
        lengths = [len(tokenizer.encode(text, add_special_tokens=False).ids) for text, _ in sentences]
        by_label: dict[str, list[int]] = {}
        for place, (_, label) in enumerate(sentences):
            by_label.setdefault(label, []).append(place)
        labels = [label for _, label in sentences]
        written = []
        for number in range(rows[split]):
            label = labels[number % len(labels)]
            target = random.lognormal(np.log(_MEAN_TOKENS) - _SPREAD**2 / 2, _SPREAD)
            chosen = [int(random.choice(by_label[label]))]
            # Stop where the next sentence would lead further from the drawn length than it is now.
            while sum(lengths[place] for place in chosen) + np.mean(lengths) / 2 < target:
                chosen.append(int(random.choice(by_label[label])))
            written.append((" ".join(sentences[place][0] for place in chosen), label))
        _write(folder / f"{split}.csv", written)
    return TrainingData("long tail", folder, 256)


def describe(data: TrainingData, tokenizer: Tokenizer) -> str:
    """Returns the rows and lengths of the training file, for people."""
    with data.file("train").open(encoding="utf-8", newline="") as file:
        texts = [row["text"] for row in csv.DictReader(file)]
    lengths = np.minimum([len(encoding.ids) for encoding in tokenizer.encode_batch(texts)], data.max_length)
    p50, p95 = np.percentile(lengths, [50, 95])
    return (
        f"`{data.name}`: {len(texts)} training rows, {lengths.mean():.0f} tokens on average "
        f"(median {p50:.0f}, 95th percentile {p95:.0f}, longest {lengths.max()}), cut at {data.max_length}."
    )


def _quickstart(split: str) -> list[tuple[str, str]]:
    with (QUICKSTART / f"{split}.csv").open(encoding="utf-8", newline="") as file:
        return [(row["text"], row["label"]) for row in csv.DictReader(file)]


def _write(path: Path, rows: Sequence[tuple[str, str]]) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("w", encoding="utf-8", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(["text", "label"])
        writer.writerows(rows)
