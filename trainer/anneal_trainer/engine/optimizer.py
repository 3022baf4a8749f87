"""AdamW with decay groups and layer-wise learning rates, and its schedule."""

from __future__ import annotations

import math
import re
from collections.abc import Iterable
from typing import Any

import torch

from anneal_api.spec.training import LearningRateScheduler, Training

_LAYER_NUMBER = re.compile(r"\.(\d+)\.")  # the first one: families call their layers by many names
_BETAS = (0.9, 0.999)
_EPSILON = 1e-8


def layer_depth(parameter: str, layers: int) -> int:
    """Returns how far below the head a parameter lies.

    That is 0 for the head, `layers` for the lowest layer and one more for the embeddings.

    Args:
        parameter: Dotted name, for example `bert.encoder.layer.3.output.dense.weight`.
        layers: Layers of the model.
    """
    match = _LAYER_NUMBER.search(parameter)
    if match:
        return layers - int(match.group(1))
    if re.search(r"embed|\bwte\b|\bwpe\b", parameter):
        return layers + 1
    return 0


def _decays(name: str, parameter: torch.nn.Parameter) -> bool:
    # Biases and the gains of norms are vectors; decaying them only shrinks the scale of what they normalise.
    return parameter.ndim >= 2 and not name.endswith("bias")  # noqa: PLR2004


def parameter_groups(
    named_parameters: Iterable[tuple[str, torch.nn.Parameter]],
    *,
    learning_rate: float,
    weight_decay: float,
    layer_decay: float,
) -> list[dict[str, Any]]:
    """Returns AdamW groups: one per depth (arXiv 1801.06146, section 3.2) and per decay.

    Args:
        named_parameters: Names and parameters; frozen ones are left out.
        learning_rate: Peak rate of the head.
        weight_decay: Decay of the matrices.
        layer_decay: Factor on the rate per step of depth.
    """
    trained = [(name, parameter) for name, parameter in named_parameters if parameter.requires_grad]
    numbers = [int(match.group(1)) for name, _ in trained if (match := _LAYER_NUMBER.search(name))]
    layers = max(numbers, default=-1) + 1
    groups: dict[tuple[int, bool], dict[str, Any]] = {}
    for name, parameter in trained:
        depth = layer_depth(name, layers) if layer_decay < 1 else 0
        decays = _decays(name, parameter)
        group = groups.setdefault(
            (depth, decays),
            {
                "params": [],
                "lr": learning_rate * layer_decay**depth,
                "weight_decay": weight_decay if decays else 0.0,
            },
        )
        group["params"].append(parameter)
    return list(groups.values())


def build_optimizer(
    named_parameters: Iterable[tuple[str, torch.nn.Parameter]], training: Training
) -> torch.optim.AdamW:
    """Returns the AdamW (arXiv 1711.05101) that the manifest asks for."""
    groups = parameter_groups(
        named_parameters,
        learning_rate=training.learning_rate,
        weight_decay=training.weight_decay,
        layer_decay=training.layer_decay,
    )
    return torch.optim.AdamW(groups, betas=_BETAS, eps=_EPSILON, fused=True)


def schedule_factor(
    step: int, *, total_steps: int, warmup_ratio: float, kind: LearningRateScheduler
) -> float:
    """Returns the factor on the peak learning rate in a step.

    Args:
        step: Optimizer steps done before it.
        total_steps: Optimizer steps of the whole training.
        warmup_ratio: Share of them in which the rate rises from 0.
        kind: How it falls afterwards: to 0 for `linear` and `cosine`, not at all for `constant`.
    """
    warmup = math.ceil(total_steps * warmup_ratio)
    if step < warmup:
        return step / warmup
    if kind is LearningRateScheduler.CONSTANT:
        return 1.0
    progress = (step - warmup) / max(1, total_steps - warmup)
    if kind is LearningRateScheduler.COSINE:
        return 0.5 * (1.0 + math.cos(math.pi * min(1.0, progress)))
    return max(0.0, 1.0 - progress)
