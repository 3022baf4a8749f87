"""B2 and B3: requests per second and latency of served models, exact and int8."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from tests.benchmarks.interleaving import Figures, interleave
from tests.benchmarks.loopback_only import available
from tests.benchmarks.models import FP32, INT8, Questions, Reference, ServedModels
from tests.benchmarks.processes import Server
from tests.benchmarks.results import LineResult
from tests.benchmarks.servers import (
    Contestant,
    anneal_haproxy,
    anneal_serve,
    anneal_uvicorn,
    fastapi_onnxruntime,
    fastapi_pipeline,
)
from tests.benchmarks.settings import Settings

CONNECTIONS = (1, 16, 64)
_WARM_UP_SECONDS = 1.5
_PHASE_SECONDS = 6.0
_QUICK_PHASE_SECONDS = 1.0
_START_SECONDS = 180.0
_ANSWER_CONNECTIONS = 4
_MOST_LOGIT_DIFFERENCE = 1e-3
_LEAST_AGREEMENT = 0.99


@dataclass(frozen=True)
class Answers:
    """What a server answered to every question once, against the trained weights and the right labels.

    Attributes:
        missing: Questions without an answer.
        difference: Largest difference in the log-odds of two labels, which is a difference of logits.
        agreement: Share with the same label as the trained weights.
        accuracy: Share with the right label.
        exact: Whether it had to be exact.
    """

    missing: int
    difference: float
    agreement: float
    accuracy: float
    exact: bool

    @classmethod
    def judged(
        cls, answers: list[Any], reference: Reference, questions: Questions, *, exact: bool
    ) -> Answers:
        """Compares the bodies of a server's answers."""
        given = [index for index, answer in enumerate(answers) if answer is not None]
        log_scores = np.array([_log_scores(answers[index], reference.labels) for index in given])
        expected = reference.log_scores[given]
        # The first label is the zero point: probabilities say nothing of what all logits have in common.
        odds, expected_odds = log_scores - log_scores[:, :1], expected - expected[:, :1]
        said = log_scores.argmax(axis=1)
        right = [
            reference.labels[place] == questions.labels[index]
            for place, index in zip(said, given, strict=True)
        ]
        return cls(
            missing=len(answers) - len(given),
            difference=float(np.abs(odds - expected_odds).max()),
            agreement=float((said == expected.argmax(axis=1)).mean()),
            accuracy=float(np.mean(right)),
            exact=exact,
        )

    @property
    def sound(self) -> bool:
        """Whether the figures of this server may be compared."""
        if self.missing:
            return False
        if self.exact:
            return self.difference <= _MOST_LOGIT_DIFFERENCE and self.agreement == 1.0
        return self.agreement >= _LEAST_AGREEMENT

    def __str__(self) -> str:
        words = f"{'same labels' if self.agreement == 1.0 else f'{self.agreement:.1%} same labels'}"
        logit = f", logits differ by {self.difference:.1g}" if self.exact else ""
        missing = f", {self.missing} not answered" if self.missing else ""
        return f"{'ok' if self.sound else 'FAILED'}: {words}{logit}, accuracy {self.accuracy:.1%}{missing}"


def _log_scores(answer: Any, labels: list[str]) -> list[float]:
    scores = answer["scores"] if isinstance(answer, dict) else answer
    by_label = {entry["label"]: entry["score"] for entry in scores}
    return [float(np.log(max(by_label[label], 1e-300))) for label in labels]


def measure_serving(models: ServedModels, settings: Settings, lines: tuple[str, ...]) -> list[LineResult]:
    """Measures the servers of the asked lines together, so that both share the tutorial's rounds.

    Args:
        models: What is served.
        settings: How much is measured.
        lines: `B2`, `B3` or both.
    """
    notes: list[str] = []
    by_line = {line: _contestants(line, models, settings, notes) for line in lines}
    contestants = {server.name: server for servers in by_line.values() for server in servers}
    if not contestants:
        return [_not_measured(line, notes) for line in lines]
    questions = Questions.from_quickstart(quick=settings.quick)
    texts = settings.scratch / "texts.json"
    texts.write_text(json.dumps(questions.texts), encoding="utf-8")
    reference = Reference.of(_any_model(models), questions.texts)
    checks: dict[str, Answers] = {}

    def runner(contestant: Contestant) -> Callable[[int], Figures]:
        def one_round(_number: int) -> Figures:
            with contestant.running(settings.scratch / "serving") as server:
                if contestant.name not in checks:
                    answers = _ask_once(server, texts, settings.scratch / "answers.json")
                    checks[contestant.name] = Answers.judged(
                        answers, reference, questions, exact=contestant.exact
                    )
                return _under_load(server, texts, settings)

        return one_round

    rounds = interleave(
        {name: runner(contestant) for name, contestant in contestants.items()},
        rounds=settings.rounds,
        say=settings.say,
    )
    results = []
    for line, servers in by_line.items():
        result = LineResult(line, _TITLES[line], notes=list(dict.fromkeys(notes)))
        result.rounds = {server.name: rounds[server.name] for server in servers}
        result.sound = all(checks[server.name].sound for server in servers)
        _compare(result, servers, checks)
        result.notes += [f"{server.name}: {checks[server.name]}" for server in servers]
        results.append(result)
    return results


_TITLES = {
    "B2": "a served encoder, exact (fp32), mixed lengths",
    "B3": "a served encoder, compressed (int8), mixed lengths",
}
_TUTORIAL = "FastAPI + pipeline"


def _contestants(line: str, models: ServedModels, settings: Settings, notes: list[str]) -> list[Contestant]:
    variant, mark = (FP32, "") if line == "B2" else (INT8, " int8")
    if variant not in models:
        notes.append(f"{line} was not measured: the model has no published {variant} version.")
        return []
    model, exact = models[variant], variant == FP32
    servers = [anneal_serve(model, name=f"anneal serve{mark}", exact=exact)]
    if available():
        servers.append(anneal_haproxy(model, name=f"anneal serve, HAProxy{mark}", exact=exact))
        notes.append(
            "HAProxy listens on every interface: it ran, with its client, in a network namespace with a loopback only."
        )
    else:
        notes.append(
            "HAProxy mode was skipped: it listens on every interface, and no network namespace could be made."
        )
    servers.append(anneal_uvicorn(model, settings.cores, name=f"anneal, uvicorn{mark}", exact=exact))
    servers.append(fastapi_onnxruntime(model, name=f"FastAPI + onnxruntime{mark}", exact=exact))
    servers.append(fastapi_pipeline(model, name=_TUTORIAL))
    return servers


def _compare(result: LineResult, servers: list[Contestant], checks: dict[str, Answers]) -> None:
    ours = [server.name for server in servers if server.name.startswith("anneal")]
    rival = next(server.name for server in servers if server.name.startswith("FastAPI + onnxruntime"))
    exact = result.line == "B2"
    for name in ours:
        check = str(checks[name])
        for other in (_TUTORIAL, rival):
            best = other == _TUTORIAL
            result.compare(
                f"rps at 64 connections: {name} / {other}",
                name,
                other,
                "rps c=64",
                unit="rps",
                check=check,
                at_least=(3.5 if exact else 9.0) if best else (1.3 if exact else None),
            )
        result.compare(
            f"p50 at 1 connection: {name} / {_TUTORIAL}",
            name,
            _TUTORIAL,
            "p50 ms c=1",
            unit="ms",
            check=check,
            at_most=0.8 if exact else 0.35,
        )
        result.compare(
            f"p99 at 64 connections: {name} / {_TUTORIAL}",
            name,
            _TUTORIAL,
            "p99 ms c=64",
            unit="ms",
            check=check,
            at_most=None if exact else 0.15,
        )


def _ask_once(server: Server, texts: Path, out: Path) -> list[Any]:
    server.load(
        "--texts", texts, "--answers", out, "--connections", _ANSWER_CONNECTIONS, within=_START_SECONDS * 2
    )
    answers: list[Any] = json.loads(out.read_text(encoding="utf-8"))
    return answers


def _under_load(server: Server, texts: Path, settings: Settings) -> Figures:
    seconds = _QUICK_PHASE_SECONDS if settings.quick else _PHASE_SECONDS
    figures: Figures = {}
    for connections in CONNECTIONS:
        phase = server.load(
            "--texts",
            texts,
            "--connections",
            connections,
            "--warm-up",
            _WARM_UP_SECONDS,
            "--seconds",
            seconds,
            "--within",
            _START_SECONDS,
            within=_START_SECONDS * 2,
        )
        figures |= {f"{name} c={connections}": value for name, value in phase.items()}
    return figures


def _any_model(models: ServedModels) -> Path:
    return next(iter(models.by_variant.values()))


def _not_measured(line: str, notes: list[str]) -> LineResult:
    return LineResult(line, _TITLES[line], notes=notes, sound=False)
