"""B11: how long a model server takes to its first answer, and what it holds in memory."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable
from pathlib import Path

from tests.benchmarks.interleaving import Figures, interleave
from tests.benchmarks.models import FP32, INT8, Questions, ServedModels
from tests.benchmarks.processes import python, run
from tests.benchmarks.results import LineResult
from tests.benchmarks.servers import (
    Contestant,
    anneal_serve,
    anneal_uvicorn,
    fastapi_onnxruntime,
    fastapi_pipeline,
)
from tests.benchmarks.settings import Settings

_PAUSE_SECONDS = 0.01
_START_SECONDS = 180.0
_QUESTIONS = 100
_TUTORIAL, _TUTORIAL_COMMAND = "FastAPI + pipeline", "pipeline in a script"


def measure_cold_start(models: ServedModels, settings: Settings) -> LineResult:
    """Measures servers and the command line, files already in the page cache.

    Args:
        models: What is served.
        settings: How much is measured.
    """
    result = LineResult("B11", "cold start and footprint of one replica")
    questions = Questions.from_quickstart(quick=settings.quick)
    texts = settings.scratch / "first-texts.json"
    texts.write_text(json.dumps(questions.texts[:_QUESTIONS]), encoding="utf-8")
    servers, commands = _contestants(models, settings)
    runs: dict[str, Callable[[int], Figures]] = {
        server.name: _server_run(server, texts, questions.texts[0], settings.scratch) for server in servers
    }
    runs |= {
        name: _command_run(command, settings.scratch / "cold-start" / "command.log")
        for name, command in commands.items()
    }
    for name, run_once in runs.items():
        settings.say(f"reading the files of {name} once")
        run_once(-1)  # the first start of a machine reads the disk; that is another benchmark
    result.rounds = interleave(runs, rounds=settings.rounds, say=settings.say)
    check = "first 200 of POST /predict; files in the page cache"
    for server in servers:
        if not server.name.startswith("anneal"):
            continue
        alone = server.name.startswith("anneal, uvicorn")
        result.compare(
            f"time to the first answer: {server.name} / {_TUTORIAL}",
            server.name,
            _TUTORIAL,
            "first answer s",
            unit="s",
            check=check,
            at_most=0.25 if alone else None,
        )
        result.compare(
            f"RSS of the replica after {_QUESTIONS} answers: {server.name} / {_TUTORIAL}",
            server.name,
            _TUTORIAL,
            "replica RSS MB",
            unit="MB",
            check="the process that holds the model",
            at_most=0.4,
        )
        result.compare(
            f"PSS of all processes after {_QUESTIONS} answers: {server.name} / {_TUTORIAL}",
            server.name,
            _TUTORIAL,
            "PSS MB",
            unit="MB",
            check="the whole process tree",
        )
    for name in commands:
        if name != _TUTORIAL_COMMAND:
            result.compare(
                f"one answer on the command line: {name} / {_TUTORIAL_COMMAND}",
                name,
                _TUTORIAL_COMMAND,
                "wall s",
                unit="s",
                check="exit code 0",
            )
    result.notes += [
        "Ray Serve runs other processes beside the replica: `PSS MB` less `replica RSS MB` is about their cost.",
        f"Memory was read after {_QUESTIONS} answers at 4 connections.",
    ]
    return result


def _contestants(models: ServedModels, settings: Settings) -> tuple[list[Contestant], dict[str, list[str]]]:
    servers: list[Contestant] = []
    commands: dict[str, list[str]] = {}
    text = "a joy to watch"
    for variant, mark in ((FP32, ""), (INT8, " int8")):
        if variant not in models:
            continue
        model = models[variant]
        servers += [
            anneal_uvicorn(model, settings.cores, name=f"anneal, uvicorn{mark}"),
            anneal_serve(model, name=f"anneal serve{mark}"),
        ]
        commands[f"anneal predict{mark}"] = [sys.executable, "-m", "anneal_cli", "predict", str(model), text]
    parent = next(iter(models.by_variant.values()))
    servers.append(fastapi_onnxruntime(parent))
    servers.append(fastapi_pipeline(parent, name=_TUTORIAL))
    commands[_TUTORIAL_COMMAND] = python("tests.benchmarks.contestants.pipeline_predict", parent, text)
    return servers, commands


def _server_run(contestant: Contestant, texts: Path, first: str, scratch: Path) -> Callable[[int], Figures]:
    def one_round(_number: int) -> Figures:
        with contestant.running(scratch / "cold-start") as server:
            answered = server.wait_for_answer(first, within=_START_SECONDS, pause=_PAUSE_SECONDS)
            at_first = server.memory()
            server.load(
                "--texts",
                texts,
                "--answers",
                scratch / "ignored.json",
                "--connections",
                4,
                within=_START_SECONDS,
            )
            return {
                "first answer s": answered,
                "RSS MB at first answer": at_first["RSS MB"],
                **server.memory(),
            }

    return one_round


def _command_run(command: list[str], log: Path) -> Callable[[int], Figures]:
    def one_round(_number: int) -> Figures:
        return {"wall s": run(command, log=log, within=_START_SECONDS)}

    return one_round
