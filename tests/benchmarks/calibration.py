"""How fast this machine is right now: a run whose yardstick moved by more than 15 % says so."""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable

import numpy as np
import torch

MOST_DRIFT = 0.15


def _best_of(rounds: int, work: Callable[[], object]) -> float:
    times = []
    for _ in range(rounds):
        started = time.perf_counter()
        work()
        times.append(time.perf_counter() - started)
    return statistics.median(times)


def calibrate() -> dict[str, float]:
    """Returns GFLOP/s of an fp32 matrix product, GOP/s of an int8 linear layer and GB/s of a copy."""
    size = 1536
    left, right = torch.rand(size, size), torch.rand(size, size)
    layer = torch.ao.quantization.quantize_dynamic(
        torch.nn.Sequential(torch.nn.Linear(size, size)), {torch.nn.Linear}, dtype=torch.qint8
    )
    source = np.ones(64 << 20, dtype=np.uint8)
    target = np.empty_like(source)
    operations = 2 * size**3 / 1e9
    return {
        "fp32 GEMM, GFLOP/s": operations / _best_of(9, lambda: left @ right),
        "int8 linear, GOP/s": operations / _best_of(9, lambda: layer(left)),
        "copy, GB/s": source.nbytes / 1e9 / _best_of(9, lambda: np.copyto(target, source)),
    }


def drift(before: dict[str, float], after: dict[str, float]) -> float:
    """Returns the largest relative change of a yardstick."""
    return max(abs(after[name] / before[name] - 1) for name in before)
