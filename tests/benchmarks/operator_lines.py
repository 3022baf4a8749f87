"""B8 and B9: what jobs cost the operator as their number grows, and what it does where nothing changes.

Both operators run against a real API server of their own, on the same cores. Where the API server takes most of the
time, that is said: its processor time stands beside the operator's.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tests.benchmarks.interleaving import Figures, Rounds, interleave
from tests.benchmarks.operators import official_client
from tests.benchmarks.processes import REPOSITORY, ContestantFailed, python, run
from tests.benchmarks.results import LineResult
from tests.benchmarks.settings import Settings
from tests.cluster.binaries import binary
from tests.cluster.progress import ClusterError

OURS, THEIRS = "anneal", "kopf handlers"

_PROGRAMS = {OURS: "anneal", THEIRS: "kopf"}
_SIZES = (100, 300, 1000)
_QUICK_SIZES = (5, 10)
_SINGLE = 30
_RATE = 20
_RATE_SECONDS = 10
_QUICK_SINGLE = 3
_RUN_SECONDS = 1800.0
_RESTART = "restart"
_REST = "calls a minute at rest"
_WHOLE_WAY = "whole way"


@dataclass(frozen=True)
class Load:
    """What is asked of an operator in one round.

    Attributes:
        name: What the table calls it.
        jobs: How many jobs are applied.
        pattern: How, as `operator_round` understands it.
        restart: Whether the operator starts again beside them.
        way: Whether our operator takes them all the way to served models.
    """

    name: str
    jobs: int
    pattern: str = "at once"
    restart: bool = False
    way: bool = False


def loads(*, quick: bool) -> list[Load]:
    """Returns what is asked of every operator, the smallest first."""
    single = _QUICK_SINGLE if quick else _SINGLE
    arriving = single if quick else _RATE * _RATE_SECONDS
    least, *more = _QUICK_SIZES if quick else _SIZES
    return [
        Load("one by one", single, "one by one"),
        Load(f"{_RATE} a second", arriving, str(_RATE)),
        # Pods and KubeRay's large objects cost the API server so much that more jobs on their way would take hours.
        Load(f"{least} at once", least, restart=True, way=True),
        *(Load(f"{jobs} at once", jobs, restart=True) for jobs in more),
    ]


def measure_operator(settings: Settings, lines: tuple[str, ...]) -> list[LineResult]:
    """Measures both operators under every load.

    Args:
        settings: How much is measured.
        lines: Those of B8 and B9 that are asked for; the rounds serve both.

    Raises:
        ContestantFailed: An operator did not do its work, or there is no API server to be had.
    """
    try:
        for name in ("etcd", "kube-apiserver", "kubectl"):
            binary(name, say=settings.say)
    except ClusterError as error:
        raise ContestantFailed(str(error)) from error
    client = official_client(settings.cache)
    asked = loads(quick=settings.quick)
    checks: dict[str, list[str]] = {}
    contestants = {
        _called(operator, load): _round(operator, load, settings, client, checks)
        for load in asked
        for operator in (OURS, THEIRS)
    }
    measured = interleave(contestants, rounds=settings.rounds, say=settings.say)
    check = _said(checks)
    results = {"B8": throughput(measured, asked, check), "B9": restarts(measured, asked, check)}
    for result in results.values():
        result.sound = check.startswith("ok")
    return [results[line] for line in lines]


def throughput(measured: Rounds, asked: list[Load], check: str) -> LineResult:
    """Returns the table of B8.

    Args:
        measured: What both operators needed under every load.
        asked: The loads.
        check: What was checked, and what came out.
    """
    result = LineResult("B8", "operator: from applied jobs to their children and status")
    result.rounds = without(measured, (_RESTART, _REST))
    single, arriving, *bursts = asked
    least, most = bursts[0], bursts[-1]
    figures: tuple[tuple[str, str, float | None, float | None], ...] = (
        ("jobs/s", "jobs/s", 5.0, None),
        ("operator CPU ms a job", "ms", None, None),
        ("writes a job", "", None, None),
        ("RSS KB a job", "KB", None, None),
    )
    for figure, unit, at_least, at_most in figures:
        result.compare(
            f"{figure}, {most.name}: {OURS} / {THEIRS}",
            _called(OURS, most),
            _called(THEIRS, most),
            figure,
            unit=unit,
            check=check,
            at_least=at_least,
            at_most=at_most,
        )
    result.compare(
        f"flat: operator CPU a job, {most.name} / {least.name}",
        _called(OURS, most),
        _called(OURS, least),
        "operator CPU ms a job",
        unit="ms",
        check=check,
        at_most=1.1,
    )
    result.compare(
        f"flat: jobs/s, {most.name} / {least.name}",
        _called(OURS, most),
        _called(OURS, least),
        "jobs/s",
        unit="jobs/s",
        check=check,
        at_least=0.9,
    )
    bounds: tuple[tuple[Load, str, str, float | None, float | None], ...] = (
        (single, "first child s, median", "s", None, 1.0),
        (single, "first child s, p99", "s", None, 1.0),
        (arriving, "first child s, p99", "s", None, 0.5),
        (most, "jobs/s", "jobs/s", 100.0, None),
        (most, "RSS KB a job", "KB", None, 8.0),
    )
    for load, figure, unit, at_least, at_most in bounds:
        ours = _called(OURS, load)
        what = f"{figure}, {load.name}"
        result.bound(what, ours, figure, unit=unit, check=check, at_least=at_least, at_most=at_most)
    result.notes = [
        "Both share two cores or more with a real API server and etcd, whose processor time is beside the operator's.",
        f"`{_WHOLE_WAY}`: all jobs go from their first pod to a served model at once; pods, KubeRay and reports are "
        "simulated, at no pause.",
        "A first child and a begun job are timed by the API server's audit log, from the answer to who applied it.",
    ]
    return result


def restarts(measured: Rounds, asked: list[Load], check: str) -> LineResult:
    """Returns the table of B9.

    Args:
        measured: What both operators needed under every load.
        asked: The loads.
        check: What was checked, and what came out.
    """
    result = LineResult("B9", "operator: started again beside jobs of which nothing changes")
    result.rounds = {
        name: [_only(figures, (_RESTART, _REST)) for figures in runs]
        for name, runs in measured.items()
        if any(figure.startswith(_RESTART) for figure in runs[0])
    }
    bursts = [load for load in asked if load.restart]
    most = bursts[-1]
    ours, theirs = _called(OURS, most), _called(THEIRS, most)
    for figure, unit in (("at rest s", "s"), ("operator CPU s", "s"), ("RSS MB", "MB")):
        result.compare(
            f"{figure}, {most.name}: {OURS} / {THEIRS}",
            ours,
            theirs,
            f"{_RESTART}: {figure}",
            unit=unit,
            check=check,
        )
    for load in bursts:
        name = _called(OURS, load)
        for figure in [f"{_RESTART}: writes", *([f"{_RESTART}, all served: writes"] if load.way else [])]:
            result.bound(
                f"{figure}, {load.name}", name, figure, unit="", check="the API server's audit log", at_most=0
            )
        if load.way:
            result.bound(
                f"{_REST}, {load.name}, all served",
                name,
                _REST,
                unit="calls",
                check="its own count; watches and the Lease's renewal left out",
                at_most=0,
            )
    least = _called(OURS, bursts[0])
    result.rounds["growth"] = [
        {"restart: ms a job": _growth(one, two)}
        for one, two in zip(measured[least], measured[ours], strict=True)
    ]
    result.bound(
        f"time to rest a job, from {bursts[0].name} to {most.name}",
        "growth",
        "restart: ms a job",
        unit="ms",
        check="restart: at rest s",
        at_most=1.0,
    )
    result.notes = [
        "At rest: no more than 3 % of a core for a second. The first parts' pods run; `all served`: all models serve.",
        f"{THEIRS} takes its jobs no further than to their first part, so it starts again beside those alone.",
    ]
    return result


def without(measured: Rounds, beginnings: tuple[str, ...]) -> Rounds:
    """Returns rounds less the figures whose names begin with certain words."""
    return {
        name: [
            {figure: value for figure, value in figures.items() if not figure.startswith(beginnings)}
            for figures in runs
        ]
        for name, runs in measured.items()
    }


def _only(figures: Figures, beginnings: tuple[str, ...]) -> Figures:
    return {figure: value for figure, value in figures.items() if figure.startswith(beginnings)}


def _growth(few: Figures, many: Figures) -> float:
    """Returns the milliseconds that every further job adds to a restart."""
    more = many[f"{_RESTART}: jobs"] - few[f"{_RESTART}: jobs"]
    return (many[f"{_RESTART}: at rest s"] - few[f"{_RESTART}: at rest s"]) / more * 1000


def _called(operator: str, load: Load) -> str:
    return f"{operator}, {load.name}"


def _round(
    operator: str, load: Load, settings: Settings, client: Path, checks: dict[str, list[str]]
) -> Callable[[int], Figures]:
    name = _called(operator, load)
    logs = settings.scratch / "operator" / name.replace(" ", "-").replace(",", "")

    def one_round(_: int) -> Figures:
        logs.mkdir(parents=True, exist_ok=True)
        out = logs / "figures.json"
        options: list[object] = ["--operator", _PROGRAMS[operator], "--jobs", load.jobs]
        options += ["--pattern", load.pattern, "--client", client, "--out", out]
        options += ["--restart"] if load.restart else []
        options += ["--way"] if load.way and operator == OURS else []
        run(
            python("tests.benchmarks.operator_round", *options),
            log=logs / "round.log",
            within=_RUN_SECONDS,
            environment={"PYTHONPATH": str(REPOSITORY / "tests")},
        )
        found: dict[str, Any] = json.loads(out.read_text(encoding="utf-8"))
        out.unlink()
        checks.setdefault(name, []).append(found["check"])
        figures: Figures = found["figures"]
        return figures

    return one_round


def _said(checks: dict[str, list[str]]) -> str:
    """Returns what came of all checks: the first that went wrong, or what was checked."""
    wrong = [f"{name}: {said}" for name, all_said in checks.items() for said in all_said if said[:2] != "ok"]
    return wrong[0] if wrong else next(iter(checks.values()))[0]
