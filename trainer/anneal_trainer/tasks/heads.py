"""The head of a classifier: whose labels the weights answer, and what is left of it where they are others.

A head of as many outputs fits any labels, and says nothing of what its outputs mean. It is kept where the labels of the
base model are those of the data, name by name; else the last layer starts anew, as it does where the numbers differ.
"""

from __future__ import annotations

from pathlib import Path

import torch
from transformers import PreTrainedConfig, PreTrainedModel

from anneal_api.errors import ModelNotFound
from anneal_serving.pretrained import LoadingReport, load_classifier, load_config

_WHERE = "spec.model.source"
_SPREAD = 0.02
"""Standard deviation of new weights where the configuration names none; that of BERT and most of its kin."""

_POOLER = "pool"
"""In the name of layers that gather a text into one vector: many pretrained models are published without them."""


def own_labels(config: PreTrainedConfig) -> tuple[str, ...]:
    """Returns the labels that a model answers, in the order of its outputs; empty where it names none."""
    by_position = {int(position): str(label) for position, label in (config.id2label or {}).items()}
    return tuple(by_position[position] for position in sorted(by_position))


def output_parameters(folder: Path) -> frozenset[str]:
    """Returns the names of the parameters with a row for each label. No tensor is read.

    They are those that do not fit once the configuration has a label more.
    """
    config = load_config(folder)
    labels = len(config.id2label or {}) + 1
    config.id2label = {index: str(index) for index in range(labels)}
    config.label2id = {str(index): index for index in range(labels)}
    model, report = load_classifier(folder, config, device="meta")
    return report.mismatched | {
        name for name in report.missing if _rows(model, name) == labels and not _is_of_base(model, name)
    }


def renew_head(model: PreTrainedModel, report: LoadingReport, folder: Path) -> None:
    """Draws the output layer anew where it came from a checkpoint that answers other labels.

    Args:
        model: The model, as it was loaded.
        report: How it was loaded.
        folder: Where from.
    """
    kept = output_parameters(folder) - report.missing - report.mismatched
    parameters = dict(model.named_parameters())
    spread = getattr(model.config.get_text_config(), "initializer_range", None) or _SPREAD
    with torch.no_grad():
        for name in sorted(kept & parameters.keys()):
            if parameters[name].ndim > 1:
                parameters[name].normal_(0.0, spread)
            else:
                parameters[name].zero_()


def require_whole(model: PreTrainedModel, report: LoadingReport, source: str) -> None:
    """Makes sure that a checkpoint held the base model whole, or training would start from random layers.

    Raises:
        ModelNotFound: Weights below the head are missing, or of another shape than config.json says.
    """
    absent = sorted(name for name in report.missing if _is_of_base(model, name) and _POOLER not in name)
    misfits = sorted(name for name in report.mismatched if _is_of_base(model, name))
    if not absent and not misfits:
        return
    first, count = (absent or misfits)[0], len(absent) + len(misfits)
    how = "is not in the weights" if absent else "has another shape in the weights"
    raise ModelNotFound(
        f"'{source}': the weights do not fit config.json, which describes a {model.config.model_type}: '{first}' {how}"
        f"{f', and {count - 1} more' if count > 1 else ''}.",
        where=_WHERE,
        remedy="Check that config.json and the weights are of the same model; what is missing would be random.",
    )


def _is_of_base(model: PreTrainedModel, name: str) -> bool:
    if model.base_model is model:
        return True
    return name.startswith(f"{model.base_model_prefix}.")


def _rows(model: PreTrainedModel, name: str) -> int:
    shape = dict(model.named_parameters())[name].shape
    return shape[0] if shape else 0
