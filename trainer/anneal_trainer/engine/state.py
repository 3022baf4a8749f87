"""Where a training stands, beside its weights."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any


@dataclass
class TrainingState:
    """Where training stands. Everything in it is plain JSON.

    Attributes:
        step: Optimizer steps done.
        epochs_scored: Epochs whose validation is done.
        best_epoch: Epoch with the best validation so far; 0 before the first.
        best_score: Its score in the selection metric.
        epochs_without_gain: Epochs since then.
        stopped_early: Whether early stopping has ended training.
        loss_sum: Loss summed over the rows of the steps since the last logged point, over all workers.
        loss_steps: Those steps.
        useful_tokens: Tokens of the rows seen, without padding.
        step_seconds: Time spent in steps.
        seconds: Time spent in steps and evaluations.
        precision: Number format of the matrix products, `fp32` or `bf16`.
        gpu: Name of the first process's GPU; empty where it computes on a CPU.
        resumed_from: Step at which the last restart went on.
        loss_curve: The logged points, as `anneal_api.report.LossPoint`.
        epochs: Validation per epoch, as `anneal_api.report.EpochScore`.
    """

    step: int = 0
    epochs_scored: int = 0
    best_epoch: int = 0
    best_score: float | None = None
    epochs_without_gain: int = 0
    stopped_early: bool = False
    loss_sum: float = 0.0
    loss_steps: int = 0
    useful_tokens: int = 0
    step_seconds: float = 0.0
    seconds: float = 0.0
    precision: str = "fp32"
    gpu: str = ""
    resumed_from: int | None = None
    loss_curve: list[dict[str, Any]] = field(default_factory=list)
    epochs: list[dict[str, Any]] = field(default_factory=list)
