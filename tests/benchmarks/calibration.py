"""How fast this machine is right now: a run whose yardsticks moved by more than 15 % says so."""

from __future__ import annotations

import json
import statistics
import time
import warnings
from collections.abc import Callable
from pathlib import Path

import numpy as np
import torch
from tests.benchmarks.processes import free_port, python, serving

MOST_DRIFT = 0.15

_CONNECTIONS = 32


def _median_seconds(rounds: int, work: Callable[[], object]) -> float:
    times = []
    for _ in range(rounds):
        started = time.perf_counter()
        work()
        times.append(time.perf_counter() - started)
    return statistics.median(times)


def calibrate(scratch: Path, *, seconds: float = 3.0) -> dict[str, float]:
    """Measures the yardsticks.

    Args:
        scratch: Where to write logs.
        seconds: How long HTTP is measured.

    Returns:
        GFLOP/s of an fp32 matrix product, GOP/s of an int8 linear layer, GB/s of a copy, requests per second of an
        empty endpoint, all with all cores.
    """
    size = 1536
    left, right = torch.rand(size, size), torch.rand(size, size)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # a yardstick need not be the newest way
        layer = torch.ao.quantization.quantize_dynamic(
            torch.nn.Sequential(torch.nn.Linear(size, size)), {torch.nn.Linear}, dtype=torch.qint8
        )
    source = np.ones(64 << 20, dtype=np.uint8)
    target = np.empty_like(source)
    operations = 2 * size**3 / 1e9
    for warm_up in (lambda: left @ right, lambda: layer(left)):
        warm_up()
    return {
        "fp32 GEMM, GFLOP/s": operations / _median_seconds(25, lambda: left @ right),
        "int8 linear, GOP/s": operations / _median_seconds(25, lambda: layer(left)),
        "copy, GB/s": source.nbytes / 1e9 / _median_seconds(25, lambda: np.copyto(target, source)),
        "empty endpoint, rps": _http(scratch, seconds),
    }


def _http(scratch: Path, seconds: float) -> float:
    texts = scratch / "one-text.json"
    texts.write_text(json.dumps(["a text of some length, as people send them"]), encoding="utf-8")
    port = free_port()
    command = python("tests.benchmarks.contestants.no_op", port)
    with serving(command, port=port, log=scratch / "no-op.log") as server:
        figures = server.load(
            "--texts", texts, "--connections", _CONNECTIONS, "--seconds", seconds, within=120
        )
    return float(figures["rps"])


def drift(before: dict[str, float], after: dict[str, float]) -> float:
    """Returns the largest relative change of a yardstick."""
    return max(abs(after[name] / before[name] - 1) for name in before)
