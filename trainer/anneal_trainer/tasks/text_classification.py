"""Text classification: one label for a text, cross-entropy, softmax."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from transformers import PreTrainedConfig, PreTrainedModel

from anneal_serving.backends.last_token import read_last_token
from anneal_serving.pretrained import load_classifier, load_config
from anneal_trainer.evaluate.metrics import classification_metrics
from anneal_trainer.tasks.heads import own_labels, renew_head, require_whole

_NO_RATES = ("layer", "path")
"""Words in the names of settings that drop whole layers or residual paths, which is something else."""


class TextClassification:
    """One label for a text."""

    def build_model(self, folder: Path, labels: Sequence[str], *, dropout: float | None) -> PreTrainedModel:
        """See `TrainingTask.build_model`. A head in the weights is kept only where it answers these very labels."""
        config = load_config(folder)
        answered = own_labels(config)
        set_labels(config, labels)
        if dropout is not None:
            set_dropout(config, dropout)
        model, report = load_classifier(folder, config)
        require_whole(model, report, str(folder))
        if answered != tuple(labels):
            renew_head(model, report, folder)
        read_last_token(model)
        return model

    def loss_sum(
        self, logits: torch.Tensor, targets: torch.Tensor, *, label_smoothing: float
    ) -> torch.Tensor:
        """See `TrainingTask.loss_sum`."""
        return torch.nn.functional.cross_entropy(
            logits.float(), targets, reduction="sum", label_smoothing=label_smoothing
        )

    def weight(self, targets: NDArray[np.integer]) -> int:
        """See `TrainingTask.weight`: rows."""
        return len(targets)

    def metrics(self, logits: NDArray[np.float32], targets: NDArray[np.integer]) -> dict[str, float]:
        """See `TrainingTask.metrics`."""
        return classification_metrics(logits, targets)


def set_labels(config: PreTrainedConfig, labels: Sequence[str]) -> None:
    """Makes a configuration that of a classifier of these labels."""
    config.id2label = dict(enumerate(labels))
    config.label2id = {label: index for index, label in enumerate(labels)}
    config.problem_type = "single_label_classification"


def set_dropout(config: PreTrainedConfig, dropout: float) -> None:
    """Sets every rate of dropout that a configuration has: each family of transformers has names of its own."""
    text = config.get_text_config()
    for part in (config,) if text is config else (config, text):
        for field, value in list(vars(part).items()):
            is_rate = value is None or (isinstance(value, int | float) and not isinstance(value, bool))
            named = ("dropout" in field or field.endswith("pdrop")) and not any(
                word in field for word in _NO_RATES
            )
            if named and is_rate:
                setattr(part, field, dropout)
