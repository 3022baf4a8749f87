"""Text classification: one label for a text, cross-entropy, softmax."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from transformers import AutoConfig, AutoModelForSequenceClassification, PreTrainedConfig, PreTrainedModel

from anneal_api.errors import ModelNotFound
from anneal_trainer.evaluate.metrics import classification_metrics
from anneal_trainer.quiet import quiet_libraries

# The names under which the families of transformers keep their dropout.
_DROPOUT_FIELDS = (
    "hidden_dropout_prob",
    "attention_probs_dropout_prob",
    "classifier_dropout",
    "dropout",
    "attention_dropout",
    "activation_dropout",
    "seq_classif_dropout",
    "embedding_dropout",
    "mlp_dropout",
    "summary_last_dropout",
    "resid_pdrop",
    "embd_pdrop",
    "attn_pdrop",
)


class TextClassification:
    """One label for a text."""

    def build_model(self, folder: Path, labels: Sequence[str], *, dropout: float | None) -> PreTrainedModel:
        """See `TrainingTask.build_model`."""
        config = AutoConfig.from_pretrained(folder)
        config.id2label = dict(enumerate(labels))
        config.label2id = {label: index for index, label in enumerate(labels)}
        config.problem_type = "single_label_classification"
        if dropout is not None:
            _set_dropout(config, dropout)
        try:
            with quiet_libraries():
                model: PreTrainedModel = AutoModelForSequenceClassification.from_pretrained(
                    folder,
                    config=config,
                    dtype=torch.float32,
                    use_safetensors=True,
                    ignore_mismatched_sizes=True,
                )
        except ValueError as error:
            raise ModelNotFound(
                f"A model of type {config.model_type} has no head for text classification.",
                where="spec.model.source",
                remedy="Name an encoder such as BERT, RoBERTa, DistilBERT or ModernBERT.",
            ) from error
        if model.config.pad_token_id is None:
            model.config.pad_token_id = 0
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


def _set_dropout(config: PreTrainedConfig, dropout: float) -> None:
    for field in _DROPOUT_FIELDS:
        if hasattr(config, field):
            setattr(config, field, dropout)
