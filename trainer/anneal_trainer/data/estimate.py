"""What a training will take: steps, memory, time. Formulas, pure but for `this_machine`.

Memory of one process, N parameters, in bytes:

* state: 16 N (fp32 weights 4, gradients 4, AdamW's two moments 8), with several processes 4 N more for the
  buckets in which gradients travel;
* activations of the largest micro-batch: `tokens * hidden * layers * (34 + 5 * heads * length / hidden)` for
  2-byte numbers (Korthikanti et al. 2022, arXiv 2205.05198, section 4.1), twice that for fp32;
* 0.7 GB for the process itself with its libraries.

Operations of a row of s tokens, forward: `layers * s * (8 h^2 + 4 h f + 4 s h)`, h the hidden size, f the
width of the feed-forward block; training takes three times as many.
"""

from __future__ import annotations

import os
import time
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from anneal_api.spec.training import Training
from anneal_trainer.base_model import ModelDescription

EFFICIENCY = 0.4
"""Share of a large matrix product's rate that training reaches; measured: 0.36 to 0.58, BERT, two cores."""

_STATE_BYTES = 16
_BUCKET_BYTES = 4
_PROCESS_BYTES = 700_000_000
_TRAINING_FLOPS = 3
_PROBE_SIZE = 1024
_PROBE_ROUNDS = 8
_CONTROL_GROUP_LIMIT = Path("/sys/fs/cgroup/memory.max")


@dataclass(frozen=True, slots=True)
class Machine:
    """What training runs on.

    Attributes:
        memory_bytes: Memory that this process and its children may use.
        flops: fp32 operations per second of a large matrix product on all cores.
    """

    memory_bytes: int
    flops: float


@dataclass(frozen=True, slots=True)
class Estimate:
    """What a training will take.

    Attributes:
        steps_per_epoch: Optimizer steps of one pass over the training rows.
        steps: Optimizer steps of all epochs.
        tokens: Tokens of the training rows in all epochs, without padding.
        state_bytes: Weights, gradients and optimizer of one process: the part that nothing can lower.
        peak_bytes: All memory of one process at its peak.
        seconds: Time on CPU, evaluations included.
    """

    steps_per_epoch: int
    steps: int
    tokens: int
    state_bytes: int
    peak_bytes: int
    seconds: float


def estimate(
    train_lengths: NDArray[np.int64],
    validation_lengths: NDArray[np.int64],
    training: Training,
    model: ModelDescription,
    machine: Machine,
    *,
    processes: int,
) -> Estimate:
    """Returns what a training will take on CPU.

    Args:
        train_lengths: Tokens of each training row before the cut to `maxLength`, [rows].
        validation_lengths: Tokens of each validation row.
        training: The manifest's training part.
        model: The base model's shape.
        machine: What it runs on.
        processes: Training processes, all on this machine.
    """
    learned = np.minimum(train_lengths, training.max_length)
    judged = np.minimum(validation_lengths, training.max_length)
    steps_per_epoch = -(-len(learned) // training.batch_size)
    longest = int(max(learned.max(initial=1), judged.max(initial=1)))
    share = -(-training.batch_size // processes)
    micro_batch_tokens = max(longest, min(training.max_batch_tokens, share * longest))
    state = model.parameters * (_STATE_BYTES + (_BUCKET_BYTES if processes > 1 else 0))
    flops = _TRAINING_FLOPS * _forward_flops(learned, model) + _forward_flops(judged, model)
    return Estimate(
        steps_per_epoch=steps_per_epoch,
        steps=steps_per_epoch * training.epochs,
        tokens=int(learned.sum()) * training.epochs,
        state_bytes=state,
        peak_bytes=state + _activation_bytes(micro_batch_tokens, longest, model) + _PROCESS_BYTES,
        seconds=flops * training.epochs / (machine.flops * EFFICIENCY),
    )


def this_machine() -> Machine:
    """Reads how much memory there is, within the container's limit, and times a matrix product (0.1 s)."""
    memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    if _CONTROL_GROUP_LIMIT.is_file():
        limit = _CONTROL_GROUP_LIMIT.read_text(encoding="ascii").strip()
        memory = min(memory, int(limit)) if limit.isdigit() else memory
    square = np.ones((_PROBE_SIZE, _PROBE_SIZE), dtype=np.float32)
    fastest = min(_seconds_of_product(square) for _ in range(_PROBE_ROUNDS))
    return Machine(memory, 2 * _PROBE_SIZE**3 / fastest)


def _seconds_of_product(square: NDArray[np.float32]) -> float:
    start = time.perf_counter()
    square @ square
    return time.perf_counter() - start


def _forward_flops(lengths: NDArray[np.int64], model: ModelDescription) -> float:
    tokens = lengths.astype(np.float64)
    width = model.hidden_size
    per_token = 8 * width**2 + 4 * width * model.intermediate_size
    return float(model.layers * (per_token * tokens.sum() + 4 * width * (tokens**2).sum()))


def _activation_bytes(tokens: int, length: int, model: ModelDescription) -> int:
    width = max(1, model.hidden_size)
    per_number_of_two_bytes = 34 + 5 * model.heads * length / width
    return int(2 * tokens * width * model.layers * per_number_of_two_bytes)
