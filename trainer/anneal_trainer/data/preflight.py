"""Looks at data and plan before anything heavy runs, and says what it sees.

Errors stop the run, warnings are for a person to judge, notes are good to know. Pure.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from anneal_api.errors import DataInvalid, Problem
from anneal_api.job import FineTuneJobSpec
from anneal_api.report import DataSummary, Finding, SplitSummary
from anneal_api.spec.training import Training
from anneal_trainer.architecture.traits import Traits
from anneal_trainer.base_model import BaseModel, ModelDescription, describe
from anneal_trainer.data.estimate import EFFICIENCY, Machine, estimate, this_machine
from anneal_trainer.data.invalid_rows import findings_of
from anneal_trainer.data.prepared import label_order
from anneal_trainer.data.problems import MOST_SHOWN
from anneal_trainer.data.row_checks import check_rows, error, note, places, warning
from anneal_trainer.data.rows import Rows, Splits, digest

SUMMARY_FILE = "summary.json"
"""Where the preflight stage keeps what it saw."""

_CHUNK_ROWS = 4096
_MOST_TRUNCATED = 0.05
_FAR_LONGER = 2
_MOST_MEMORY = 0.9
_GIGABYTE = 1e9
_SECONDS_OF_A_MINUTE = 60


class Ruler(Protocol):
    """The part of a codec that measures texts."""

    def lengths(self, texts: Sequence[str]) -> NDArray[np.int64]:
        """Returns the tokens of each text, special tokens included, before any cut."""
        ...


@dataclass(frozen=True, slots=True)
class TokenLengths:
    """Tokens of each row before the cut to `maxLength`, int64 [rows] per split."""

    train: NDArray[np.int64]
    validation: NDArray[np.int64]
    test: NDArray[np.int64]

    def of(self, split: str) -> NDArray[np.int64]:
        """Returns the lengths of a split by its name."""
        by_name = {"train": self.train, "validation": self.validation, "test": self.test}
        return by_name[split]


def measure_lengths(splits: Splits, codec: Ruler) -> TokenLengths:
    """Counts the tokens of every row."""
    return TokenLengths(*(_lengths(rows, codec) for _, rows in splits.items()))


def inspect(
    splits: Splits,
    spec: FineTuneJobSpec,
    lengths: TokenLengths,
    *,
    model: ModelDescription,
    machine: Machine,
    processes: int = 1,
    traits: Traits | None = None,
) -> list[Finding]:
    """Returns everything that is worth saying about data and plan, errors first.

    Args:
        splits: The rows.
        spec: The job's spec.
        lengths: Their lengths in tokens.
        model: The base model's shape.
        machine: What training runs on.
        processes: Training processes.
        traits: What its architecture can do, where it was tried.
    """
    traits = traits or Traits()
    findings = [
        *findings_of(splits.left_out, spec.data.invalid_rows.max_share),
        *check_rows(splits, spec.data.columns),
        *_check_architecture(traits),
        *_check_lengths(splits, spec, lengths, traits.longest or model.max_positions),
        *_check_plan(spec, lengths, model, machine, processes),
    ]
    return by_level(findings)


def by_level(findings: Iterable[Finding]) -> list[Finding]:
    """Returns findings with errors first, then warnings, then notes."""
    levels = ("error", "warning", "note")
    return sorted(findings, key=lambda finding: levels.index(finding.level))


def summarize(
    splits: Splits,
    lengths: TokenLengths,
    labels: Sequence[str],
    max_length: int,
    findings: Sequence[Finding],
) -> DataSummary:
    """Returns what the report says about the data.

    Args:
        splits: The rows.
        lengths: Their lengths in tokens.
        labels: The labels in the order of the model's outputs.
        max_length: Longest input in tokens.
        findings: What `inspect` returned.
    """
    summaries = {
        name: _split_summary(rows, lengths.of(name), labels, max_length) for name, rows in splits.items()
    }
    return DataSummary(
        digest=digest(splits),
        labels=list(labels),
        splits=summaries,
        findings=list(findings),
        dropped=[each.record for each in splits.left_out],
    )


def summary_of(
    splits: Splits,
    spec: FineTuneJobSpec,
    codec: Ruler,
    base: BaseModel,
    processes: int = 1,
    *,
    machine: Machine | None = None,
    traits: Traits | None = None,
    noticed: Sequence[Finding] = (),
) -> DataSummary:
    """Measures, inspects and summarizes in one call. It raises no errors: `refuse_errors` does.

    Args:
        splits: The rows.
        spec: The job's spec.
        codec: Measures the texts.
        base: The base model.
        processes: Training processes.
        machine: What training runs on; None: this machine, measured.
        traits: What the base model's architecture can do, where it was tried.
        noticed: What else was found, of the base model.
    """
    lengths = measure_lengths(splits, codec)
    findings = inspect(
        splits,
        spec,
        lengths,
        model=describe(base),
        machine=machine or this_machine(),
        processes=processes,
        traits=traits,
    )
    findings = by_level([*noticed, *findings])
    return summarize(splits, lengths, label_order(splits, base), spec.training.max_length, findings)


def refuse_errors(findings: Sequence[Finding]) -> None:
    """Raises the errors among the findings as one.

    Raises:
        DataInvalid: There are errors.
    """
    problems = [Problem(f.what, f.where, f.remedy) for f in findings if f.level == "error"]
    if len(problems) > MOST_SHOWN:
        left_out = len(problems) - MOST_SHOWN
        problems = [*problems[:MOST_SHOWN], Problem(f"{left_out} more problems of this kind.")]
    if problems:
        raise DataInvalid("The data cannot be trained on.", where="spec.data", problems=problems)


def _lengths(rows: Rows, codec: Ruler) -> NDArray[np.int64]:
    chunks = [
        codec.lengths(rows.texts[start : start + _CHUNK_ROWS]) for start in range(0, len(rows), _CHUNK_ROWS)
    ]
    return np.concatenate([np.empty(0, np.int64), *chunks]).astype(np.int64)


def _check_architecture(traits: Traits) -> Iterator[Finding]:
    if not traits.tried:
        yield note(
            "The base model's architecture is too large to be tried before training: whether it can be exported shows "
            "afterwards.",
            "spec.model.source",
        )
    if not traits.pads:
        yield note(
            "Models of this family take padding for text: only rows of the same length are computed together, which is "
            "slower.",
            "spec.model.source",
        )


def _check_lengths(
    splits: Splits, spec: FineTuneJobSpec, lengths: TokenLengths, most: int | None
) -> Iterator[Finding]:
    max_length = spec.training.max_length
    where = "spec.training.maxLength"
    if most is not None and max_length > most:
        yield error(
            f"maxLength is {max_length}, but the model reads at most {most} tokens.",
            where,
            f"Set it to {most} or less.",
        )
    longest = 0
    for name, rows in splits.items():
        tokens = lengths.of(name)
        cut = np.flatnonzero(tokens > max_length).tolist()
        longest = max(longest, int(tokens.max(initial=0)))
        if len(cut) > _MOST_TRUNCATED * len(rows):
            yield warning(
                f"{len(cut)} {name} rows ({len(cut) / len(rows):.1%}) are longer than maxLength "
                f"{max_length} and lose their end; the longest has {int(tokens.max())} tokens.",
                f"{where}; {places(rows, cut, spec.data.columns.text)}",
                "Raise maxLength as far as the model and memory allow.",
            )
    if max_length > _FAR_LONGER * longest > 0:
        yield note(
            f"maxLength is {max_length}, the longest text has {longest} tokens.",
            where,
            "It costs nothing in training; the model will accept texts longer than any it was tested on.",
        )


def _check_plan(
    spec: FineTuneJobSpec, lengths: TokenLengths, model: ModelDescription, machine: Machine, processes: int
) -> Iterator[Finding]:
    training = spec.training
    rows = len(lengths.train)
    if training.batch_size > rows:
        yield warning(
            f"batchSize is {training.batch_size}, but there are {rows} training rows: a step has rows twice.",
            "spec.training.batchSize",
            f"Set it to {max(1, rows // 4)} or less.",
        )
    plan = estimate(lengths.train, lengths.validation, training, model, machine, processes=processes)
    steps = (
        f"{plan.steps} optimizer steps ({plan.steps_per_epoch} an epoch) over {plan.tokens} tokens"
        f" of {training.epochs} {'epoch' if training.epochs == 1 else 'epochs'}"
    )
    if spec.resources.gpus_per_worker:
        yield note(f"{steps}.", "spec.training")
        return
    each = f" in each of {processes} processes" if processes > 1 else ""
    yield note(
        f"{steps}; by estimate {_duration(plan.seconds)}, and "
        f"{plan.peak_bytes / _GIGABYTE:.1f} GB of memory{each}. "
        f"The time is that of the matrix products, at {EFFICIENCY:.0%} of the "
        f"{machine.flops / _GIGABYTE:.0f} GFLOP/s "
        "measured here.",
        "spec.training",
    )
    yield from _check_memory(training, plan.state_bytes * processes, plan.peak_bytes * processes, machine)


def _check_memory(training: Training, state: int, peak: int, machine: Machine) -> Iterator[Finding]:
    available = f"{machine.memory_bytes / _GIGABYTE:.1f} GB"
    if state > machine.memory_bytes:
        yield error(
            f"Weights, gradients and optimizer alone take {state / _GIGABYTE:.1f} GB; there are {available}.",
            "spec.model.source",
            "Choose a smaller model, fewer workers or a machine with more memory.",
        )
    elif peak > _MOST_MEMORY * machine.memory_bytes:
        yield warning(
            f"Training may take {peak / _GIGABYTE:.1f} GB of memory; there are {available}.",
            "spec.training.maxBatchTokens",
            f"Lower it (now {training.max_batch_tokens}): it bounds memory and changes nothing else.",
        )


def _split_summary(
    rows: Rows, tokens: NDArray[np.int64], labels: Sequence[str], max_length: int
) -> SplitSummary:
    counts = Counter(rows.labels)
    summary = {
        "rows": len(rows),
        "labels": {label: counts[label] for label in dict.fromkeys([*labels, *sorted(counts)])},
        "tokensMean": float(tokens.mean()) if len(tokens) else 0.0,
        "tokensP95": int(np.percentile(tokens, 95, method="higher")) if len(tokens) else 0,
        "tokensMax": int(tokens.max(initial=0)),
        "truncated": int((tokens > max_length).sum()),
    }
    return SplitSummary.model_validate(summary)


def _duration(seconds: float) -> str:
    if seconds < 2 * _SECONDS_OF_A_MINUTE:
        return f"{max(1, round(seconds))} s"
    minutes = seconds / _SECONDS_OF_A_MINUTE
    return f"{minutes:.0f} min" if minutes < 2 * _SECONDS_OF_A_MINUTE else f"{minutes / 60:.1f} h"
