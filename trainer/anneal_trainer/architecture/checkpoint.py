"""What a base model's configuration and weights are: known, whole, and whose labels they answer. No tensor is read."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import transformers
from transformers import (
    CONFIG_MAPPING,
    MODEL_FOR_SEQUENCE_CLASSIFICATION_MAPPING,
    PreTrainedConfig,
)

from anneal_api.errors import ModelNotFound
from anneal_api.report import Finding
from anneal_serving.pretrained import load_classifier, load_config
from anneal_trainer.base_model import BaseModel, read_config
from anneal_trainer.data.problems import listed
from anneal_trainer.data.row_checks import note, warning
from anneal_trainer.tasks.heads import output_parameters, own_labels, require_whole
from anneal_trainer.tasks.text_classification import set_labels

_WHERE = "spec.model.source"
_OWN_CODE = "auto_map"


def classifier_config(base: BaseModel, labels: Sequence[str]) -> PreTrainedConfig:
    """Returns the base model's configuration with the labels of the task.

    Raises:
        ModelNotFound: The installed transformers does not know the type of model; code beside it is never run.
    """
    try:
        config = load_config(base.folder)
    except (ValueError, KeyError, OSError, TypeError) as error:
        raise _refused(base, error) from error
    set_labels(config, labels)
    return config


def examine(base: BaseModel, config: PreTrainedConfig) -> tuple[list[Finding], bool]:
    """Returns what a person should know of the base model's weights, and whether their head starts anew.

    Args:
        base: The base model.
        config: Its configuration with the labels of the task.

    Raises:
        ModelNotFound: The type of model has no head for the task, or the weights lack a part of the model.
    """
    if type(config) not in MODEL_FOR_SEQUENCE_CLASSIFICATION_MAPPING:
        raise ModelNotFound(
            f"A model of type {config.model_type} has no head for text classification.",
            where=_WHERE,
            remedy="Name an encoder such as BERT, RoBERTa, DistilBERT or ModernBERT, or a decoder such as Qwen.",
        )
    if getattr(config, "quantization_config", None):
        raise ModelNotFound(
            f"The weights of '{base.source}' are quantized, and what is quantized cannot be trained.",
            where=_WHERE,
            remedy="Name the model that they were made of.",
        )
    try:
        model, report = load_classifier(base.folder, config, device="meta")
    except Exception as error:  # each family fails in its own way
        raise ModelNotFound(
            f"'{base.source}' cannot be loaded as a {config.model_type}: {' '.join(str(error).split())[:300]}",
            where=_WHERE,
            remedy="Check that the model loads with transformers.AutoModelForSequenceClassification.",
        ) from error
    require_whole(model, report, base.source)
    findings = list(_own_code(base, config))
    if output_parameters(base.folder) & report.missing:
        return findings, False
    answered, wanted = own_labels(load_config(base.folder)), own_labels(config)
    return [*findings, _head(answered, wanted)], answered != wanted


def _own_code(base: BaseModel, config: PreTrainedConfig) -> Iterator[Finding]:
    if _OWN_CODE in read_config(base.folder, base.source):
        yield warning(
            f"The base model brings code of its own, which is not run: it is trained as the {config.model_type} of "
            "transformers.",
            _WHERE,
            "Check that it is one; a model whose own code computes something else would give other answers.",
        )


def _head(answered: Sequence[str], wanted: Sequence[str]) -> Finding:
    if answered == wanted:
        return note(f"The base model answers {listed(wanted)} already: its head is kept.", _WHERE)
    alike = sorted(map(str.casefold, answered)) == sorted(map(str.casefold, wanted))
    return warning(
        f"The base model answers {listed(answered)}, and the data has {listed(wanted)}: its head starts anew.",
        _WHERE,
        "Write the labels as the base model has them to keep its head." if alike else "",
    )


def _refused(base: BaseModel, error: Exception) -> ModelNotFound:
    content = read_config(base.folder, base.source)
    model_type = content["model_type"]
    if model_type in CONFIG_MAPPING:
        reason = " ".join(str(error).split())
        return ModelNotFound(
            f"'{base.source}': config.json is not that of a {model_type}: {reason}",
            where=_WHERE,
            remedy="Copy the model again.",
        )
    if _OWN_CODE in content:
        return ModelNotFound(
            f"'{base.source}' is a model of type {model_type}, which is defined by code beside it, and code that comes "
            "with a model is never run.",
            where=_WHERE,
            remedy="Choose a model of a type that transformers has itself, such as bert, deberta-v2 or modernbert.",
        )
    return ModelNotFound(
        f"'{base.source}' is a model of type {model_type}, unknown to transformers {transformers.__version__}.",
        where=_WHERE,
        remedy="Install a newer transformers if it has the type, or choose another model.",
    )
