"""Candidate against incumbent, on the test rows that the incumbent did not learn from. Pure."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from anneal_trainer.evaluate.intervals import paired_interval
from anneal_trainer.evaluate.metrics import are_scorable, classification_metrics
from anneal_trainer.evaluate.sentences import count_text

_LEAST_ODDS = 1e-15


@dataclass(frozen=True, slots=True)
class Incumbent:
    """The version that is published now, on the candidate's test rows.

    Attributes:
        version: Its number.
        labels: Label of each of its outputs.
        logits: Its outputs, [rows, its labels].
        comparable: Which of the rows it did not learn from, [rows].
    """

    version: int
    labels: Sequence[str]
    logits: NDArray[np.float32]
    comparable: NDArray[np.bool_]


@dataclass(frozen=True, slots=True)
class Measured:
    """A metric of both models on the same rows.

    Attributes:
        candidate: The candidate's score.
        incumbent: The incumbent's.
        interval: 95 % interval of candidate minus incumbent; None where one of the scores is not a number.
    """

    candidate: float
    incumbent: float
    interval: tuple[float, float] | None

    @property
    def difference(self) -> float:
        """Candidate minus incumbent."""
        return self.candidate - self.incumbent


@dataclass(frozen=True, slots=True)
class Comparison:
    """Both models on the comparable rows, over the candidate's labels.

    Attributes:
        version: The incumbent's number.
        candidate: The candidate's outputs, [rows, labels].
        incumbent: The incumbent's in the same order, then its outputs for labels that the candidate does not have:
            answers that are never right, [rows, labels or more].
        gold: Position of each row's right label, [rows].
        left_out: Test rows that are not comparable, because the incumbent learned from them.
        unknown: Labels that the incumbent does not have, with their rows. These rows count as its errors.
    """

    version: int
    candidate: NDArray[np.float64]
    incumbent: NDArray[np.float64]
    gold: NDArray[np.int64]
    left_out: int
    unknown: Mapping[str, int]

    @classmethod
    def of(
        cls,
        incumbent: Incumbent,
        logits: NDArray[np.float32],
        gold: NDArray[np.integer],
        labels: Sequence[str],
    ) -> Comparison:
        """Aligns the incumbent's answers with the candidate's by the names of the labels.

        Args:
            incumbent: The incumbent on all test rows.
            logits: The candidate's outputs for them, [rows, labels].
            gold: Position of each row's right label, [rows].
            labels: Label of each of the candidate's outputs.
        """
        kept = incumbent.comparable
        rows_of = Counter(labels[position] for position in gold[kept].tolist())
        return cls(
            version=incumbent.version,
            candidate=logits[kept].astype(np.float64),
            incumbent=_in_order(incumbent.logits[kept].astype(np.float64), incumbent.labels, labels),
            gold=gold[kept].astype(np.int64),
            left_out=int((~kept).sum()),
            unknown={
                label: rows_of[label] for label in labels if rows_of[label] and label not in incumbent.labels
            },
        )

    def __len__(self) -> int:
        return len(self.gold)

    def measure(self, metric: str) -> Measured:
        """Returns a metric of both models; there must be rows."""
        labels = self.candidate.shape[1]
        ours = classification_metrics(self.candidate, self.gold)[metric]
        theirs = classification_metrics(self.incumbent, self.gold, labels=labels)[metric]
        interval = None
        if are_scorable(self.candidate) and are_scorable(self.incumbent):
            interval = paired_interval(metric, self.candidate, self.incumbent, self.gold)
        return Measured(ours, theirs, interval)

    def remarks(self) -> str:
        """Returns what is particular about the rows, to be put behind a sentence; empty where nothing is."""
        remarks = ""
        if self.left_out:
            rows = f"{self.left_out} of {count_text(self.left_out + len(self), 'test row')}"
            remarks += f"; {rows} left out, v{self.version} was trained on the same texts"
        if self.unknown:
            labels = ", ".join(
                f"'{label}' ({count_text(rows, 'row')})" for label, rows in self.unknown.items()
            )
            remarks += f"; v{self.version} does not know {labels}, which counts as wrong"
        return remarks


def _in_order(
    logits: NDArray[np.float64], labels: Sequence[str], wanted: Sequence[str]
) -> NDArray[np.float64]:
    """Returns outputs in the wanted order, then those for labels that are not wanted.

    A label that the model does not have gets the odds 1e-15 against the model's own answer: it is never answered,
    and log loss stays finite.
    """
    absent = logits.max(axis=1, keepdims=True, initial=-math.inf) + math.log(_LEAST_ODDS)
    position = {label: index for index, label in enumerate(labels)}
    columns = [
        logits[:, [position[label]]] if label in position else absent
        for label in [*wanted, *(label for label in labels if label not in wanted)]
    ]
    return np.concatenate(columns, axis=1)
