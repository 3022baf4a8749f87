"""The seam between the training loop and a task."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Protocol

import numpy as np
import torch
from numpy.typing import NDArray
from transformers import PreTrainedModel


class TrainingTask(Protocol):
    """A task's head, loss and metrics. The loop knows nothing else about a task."""

    def build_model(self, folder: Path, labels: Sequence[str], *, dropout: float | None) -> PreTrainedModel:
        """Returns the base model of a folder with the task's head on it, in fp32.

        Args:
            folder: A Hugging Face model folder.
            labels: Label of each output.
            dropout: Dropout everywhere in the model; None keeps the base model's own.
        """
        ...

    def loss_sum(
        self, logits: torch.Tensor, targets: torch.Tensor, *, label_smoothing: float
    ) -> torch.Tensor:
        """Returns the loss summed over a micro-batch; the loop divides by the step's global `weight`.

        Args:
            logits: The model's outputs, [rows, labels].
            targets: The right labels, [rows].
            label_smoothing: Share of the target's probability spread over all labels.
        """
        ...

    def weight(self, targets: NDArray[np.integer]) -> int:
        """Returns what a step's summed loss is divided by: the rows, or the tokens that count."""
        ...

    def metrics(self, logits: NDArray[np.float32], targets: NDArray[np.integer]) -> dict[str, float]:
        """Returns the task's metrics for outputs [rows, labels] and right labels [rows]."""
        ...
