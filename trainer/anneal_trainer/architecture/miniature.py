"""A small model of the same architecture: what the base model's classes do, at a fraction of its cost."""

from __future__ import annotations

import copy
import re
from collections.abc import Callable

import torch
from transformers import AutoModelForSequenceClassification, PreTrainedConfig, PreTrainedModel

_LAYERS = 2
_WIDTH = 32
_HEADS = 2
_HEAD_WIDTH = _WIDTH // _HEADS
_NARROW = {
    "hidden_size": _WIDTH,
    "intermediate_size": 2 * _WIDTH,
    "num_attention_heads": _HEADS,
    "num_key_value_heads": _HEADS,
    "head_dim": _HEAD_WIDTH,
}
"""By the names that every family answers to, whatever its own are."""

_DEPTH = re.compile(r"(num_|n_)?(hidden_|encoder_|decoder_)?layers?")
_ATTENTION = re.compile(r"(encoder|decoder)_attention_heads")
_FEED_FORWARD = re.compile(r"(encoder|decoder)_ffn_dim")
_EXPERTS = re.compile(r".*experts")
_EXTENT = re.compile(
    r"(?!.*(vocab|position|window|chunk|bucket|block|kernel|conv|batch|patch|image|num_|max_)).*(size|dim|rank).*|d_.*"
)
_MOST_EXPERTS = 16
_MOST_PARAMETERS = 100_000_000
"""No larger model is built."""

_WIDER = 3.0
"""Random weights are this many times wider than a new model's, so that what an input changes shows in the outputs."""


def miniature(config: PreTrainedConfig, prove: Callable[[PreTrainedModel], None]) -> PreTrainedModel | None:
    """Returns a small model of an architecture that can do what it has to, with random weights, in fp32.

    Its vocabulary and its positions are those of the configuration; it is the smallest of three: narrow and shallow,
    shallow, and as it is, for a family may take no other widths than its own.

    Args:
        config: The base model's configuration, with the labels of the task.
        prove: Lets a model do what it has to, and raises what comes of it.

    Returns:
        None where none of the smaller ones can and the whole one is too large to be tried.

    Raises:
        Exception: What comes of building the model as it is, or of letting it do what it has to.
    """
    failure: Exception | None = None
    tried: list[dict[str, object]] = []
    for make in (narrowed, _shallow, copy.deepcopy):
        try:
            candidate = make(config)
            shape = candidate.to_dict()
            if shape in tried:
                continue  # it fails as before
            failure = None
            tried.append(shape)
            if _parameters(candidate) > _MOST_PARAMETERS:
                continue
            model: PreTrainedModel = _built(candidate)
            prove(model)
        except Exception as error:  # noqa: BLE001  each family fails in its own way
            failure = error
            continue
        return model
    if failure is not None:
        raise failure
    return None


def narrowed(config: PreTrainedConfig) -> PreTrainedConfig:
    """Returns a configuration of few and narrow layers; vocabulary and positions stay."""
    return _narrow(_shallow(config))


def _built(config: PreTrainedConfig) -> PreTrainedModel:
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        model: PreTrainedModel = AutoModelForSequenceClassification.from_config(
            config, dtype=torch.float32, trust_remote_code=False
        )
    with torch.no_grad():
        for weights in model.parameters():
            if weights.ndim > 1:
                weights.mul_(_WIDER)
    model.eval()
    return model


def _parameters(config: PreTrainedConfig) -> int:
    with torch.device("meta"):
        model = AutoModelForSequenceClassification.from_config(config, trust_remote_code=False)
    return sum(weights.numel() for weights in model.parameters())


def _parts(config: PreTrainedConfig) -> list[PreTrainedConfig]:
    """Returns a configuration and the one of its text model, where that is a part of it."""
    text = config.get_text_config()
    return [config] if text is config else [config, text]


def _shallow(config: PreTrainedConfig) -> PreTrainedConfig:
    small = copy.deepcopy(config)
    for part in _parts(small):
        before = getattr(part, "num_hidden_layers", None)
        # What is said layer by layer, as which of them attend to a window only: one layer of each kind is kept.
        by_layer = {
            field: list(dict.fromkeys(value))
            for field in _fields(part)
            if isinstance(value := getattr(part, field), list)
            and len(value) == before
            and all(isinstance(kind, str) for kind in value)
        }
        depth = max([_LAYERS, *map(len, by_layer.values())])
        for field in [name for name in _fields(part) if _DEPTH.fullmatch(name)]:
            value = getattr(part, field)
            if isinstance(value, int) and not isinstance(value, bool) and value > depth:
                _set(part, field, depth)
        for field, distinct in by_layer.items():
            if isinstance(before, int) and before > depth:
                _set(part, field, (distinct * depth)[:depth])
    return small


def _narrow(small: PreTrainedConfig) -> PreTrainedConfig:
    for part in _parts(small):
        width, heads = getattr(part, "hidden_size", None), getattr(part, "num_attention_heads", None)
        if not isinstance(width, int) or not isinstance(heads, int) or width <= _WIDTH:
            continue
        head_width = getattr(part, "head_dim", None) or width // heads
        for field in _fields(part):
            value = getattr(part, field, None)
            if isinstance(value, int) and not isinstance(value, bool):
                _set(part, field, _narrow_value(field, value, width, head_width))
        for field, value in _NARROW.items():
            if getattr(part, field, None) is not None:
                _set(part, field, value)
    return small


def _narrow_value(field: str, value: int, width: int, head_width: int) -> int:
    """Returns what a field is in a narrow model; what was as wide as the model or as a head goes on being so."""
    if _ATTENTION.fullmatch(field):
        return _HEADS
    if _FEED_FORWARD.fullmatch(field):
        return 2 * _WIDTH
    if _EXPERTS.fullmatch(field):
        return min(value, _MOST_EXPERTS)
    if field == "rotary_dim":
        return min(value, _HEAD_WIDTH)
    if _EXTENT.fullmatch(field):
        return {width: _WIDTH, head_width: _HEAD_WIDTH}.get(value, value)
    return value


def _fields(config: PreTrainedConfig) -> list[str]:
    return [name for name in vars(config) if not name.startswith("_")]


def _set(config: PreTrainedConfig, field: str, value: object) -> None:
    if getattr(config, field, None) == value:
        return
    try:
        setattr(config, field, value)
    except (AttributeError, NotImplementedError, TypeError, ValueError):
        return  # computed from other fields
