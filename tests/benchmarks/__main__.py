"""`make bench`: calibrate, measure in turns, calibrate again, write the table.

python -m tests.benchmarks [B2 B3 B6 B7 B8 B9 B11] [--rounds 5] [--quick] [--model PATH] [--data DIR]
    [--gpu] [--encoder DIR] [--batch-size 32] [--out docs/benchmarks.md]
"""

from __future__ import annotations

import argparse
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

from tests.benchmarks.calibration import MOST_DRIFT, calibrate, drift
from tests.benchmarks.cluster_line import measure_first_step
from tests.benchmarks.cold_start import measure_cold_start
from tests.benchmarks.conditions import conditions
from tests.benchmarks.models import ServedModels, published, trained
from tests.benchmarks.operator_lines import measure_operator
from tests.benchmarks.processes import REPOSITORY, ContestantFailed
from tests.benchmarks.results import LineResult, to_json
from tests.benchmarks.serving_lines import measure_serving
from tests.benchmarks.settings import Settings
from tests.benchmarks.training_line import measure_training

LINES = ("B2", "B3", "B6", "B7", "B8", "B9", "B11")
_NEEDS_A_CLUSTER = ("B7",)
_CACHE = Path.home() / ".cache" / "anneal" / "benchmarks"


def main() -> int:
    """Runs the asked lines, prints and writes what they found; 1 where a line failed."""
    asked = _arguments()
    started = time.monotonic()

    def say(what: str) -> None:
        sys.stderr.write(f"[{time.monotonic() - started:6.0f} s] {what}\n")
        sys.stderr.flush()

    with tempfile.TemporaryDirectory(prefix="anneal-bench-") as scratch:
        settings = Settings(
            rounds=1 if asked.quick else asked.rounds,
            quick=asked.quick,
            scratch=Path(scratch),
            cache=_CACHE,
            model=asked.model,
            data=asked.data,
            say=say,
            encoder=asked.encoder,
            batch_size=asked.batch_size,
            gpu=asked.gpu,
        )
        lines = asked.lines or [line for line in LINES if line not in _NEEDS_A_CLUSTER]
        models = _models(settings) if {"B2", "B3", "B11"} & set(lines) else ServedModels({})
        surroundings = conditions()
        say("calibrating")
        before = calibrate(settings.scratch)
        results, failures = _measure(lines, models, settings)
        say("calibrating again")
        after = calibrate(settings.scratch)
    moved = drift(before, after)
    yardsticks = {name: [before[name], after[name]] for name in before}
    text = _markdown(results, failures, surroundings, yardsticks, moved, quick=asked.quick)
    asked.out.parent.mkdir(parents=True, exist_ok=True)
    asked.out.write_text(text, encoding="utf-8")
    asked.out.with_suffix(".json").write_text(
        to_json(
            {
                "valid": moved <= MOST_DRIFT and not asked.quick,
                "conditions": surroundings,
                "yardsticks": yardsticks,
                "drift": moved,
                "failures": failures,
                "lines": [result.as_json() for result in results],
            }
        ),
        encoding="utf-8",
    )
    sys.stdout.write(text)
    say(f"written to {asked.out}")
    return 1 if failures or not all(result.sound for result in results) else 0


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m tests.benchmarks", description=__doc__.splitlines()[0])
    parser.add_argument(
        "lines",
        nargs="*",
        choices=[*LINES, []],
        metavar="LINE",
        help=f"of {', '.join(LINES)}; none: all but {', '.join(_NEEDS_A_CLUSTER)}, which needs a cluster",
    )
    parser.add_argument("--rounds", type=int, default=5, help="how often every contestant runs")
    parser.add_argument(
        "--quick", action="store_true", help="one round on little data: shows only that everything works"
    )
    parser.add_argument(
        "--model", type=Path, help="a published version or a job's folder to serve, instead of training one"
    )
    parser.add_argument(
        "--data",
        type=Path,
        help="B6: train on a whole data set instead, a folder with train.csv, validation.csv and test.csv "
        "(columns text and label)",
    )
    parser.add_argument("--gpu", action="store_true", help="B6: train on this machine's GPU, in bf16")
    parser.add_argument("--encoder", type=Path, help="B6: train another model, a folder, instead of MiniLM")
    parser.add_argument("--batch-size", type=int, default=32, help="B6: rows of a training step")
    parser.add_argument(
        "--out",
        type=Path,
        default=REPOSITORY / "docs" / "benchmarks.md",
        help="the table; JSON goes beside it",
    )
    return parser.parse_args()


def _models(settings: Settings) -> ServedModels:
    if settings.model is not None:
        return published(settings.model)
    settings.say("training the model to serve, unless it was kept")
    return trained(settings.cache, quick=settings.quick)


def _measure(
    lines: list[str], models: ServedModels, settings: Settings
) -> tuple[list[LineResult], dict[str, str]]:
    results: list[LineResult] = []
    failures: dict[str, str] = {}
    parts: dict[str, Callable[[], list[LineResult]]] = {}
    served = tuple(line for line in ("B2", "B3") if line in lines)
    if served:
        parts[" and ".join(served)] = lambda: measure_serving(models, settings, served)
    if "B6" in lines:
        parts["B6"] = lambda: measure_training(settings)
    if "B7" in lines:
        parts["B7"] = lambda: [measure_first_step(settings)]
    operator = tuple(line for line in ("B8", "B9") if line in lines)
    if operator:
        parts[" and ".join(operator)] = lambda: measure_operator(settings, operator)
    if "B11" in lines:
        parts["B11"] = lambda: [measure_cold_start(models, settings)]
    for name, measure in parts.items():
        settings.say(f"measuring {name}")
        try:
            results += measure()
        except (ContestantFailed, TimeoutError) as failure:
            failures[name] = str(failure)
            settings.say(f"{name} failed: {failure}")
    return results, failures


def _markdown(
    results: list[LineResult],
    failures: dict[str, str],
    surroundings: dict[str, str],
    yardsticks: dict[str, list[float]],
    moved: float,
    *,
    quick: bool,
) -> str:
    """Returns the page."""
    parts = [
        "# Benchmarks",
        "",
        "Written by `make bench`. Contestants run in turns on one machine (A B A B); a ratio is the median of the",
        "rounds' ratios, with the least and the greatest of them. Baselines are in `tests/benchmarks/contestants`.",
        "",
    ]
    if quick:
        parts += ["**A quick run: it shows that everything works, and its figures mean nothing.**", ""]
    elif moved > MOST_DRIFT:
        parts += [
            f"**Not valid: a yardstick moved by {moved:.0%} (more than {MOST_DRIFT:.0%}) during the run.**",
            "",
        ]
    for name, failure in failures.items():
        parts += [f"**{name} failed.**", "", "```", failure, "```", ""]
    for result in results:
        parts += [result.as_markdown(), ""]
    parts += ["## Conditions", "", "| what | value |", "| --- | --- |"]
    parts += [f"| {name} | {value} |" for name, value in surroundings.items()]
    parts += ["", "| yardstick | before | after |", "| --- | --- | --- |"]
    parts += [f"| {name} | {before:.4g} | {after:.4g} |" for name, (before, after) in yardsticks.items()]
    return "\n".join(parts).replace("\n\n\n", "\n\n") + "\n"


if __name__ == "__main__":
    sys.exit(main())
