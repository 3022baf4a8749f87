"""What training needs to go on exactly where it was: weights, optimizer, position, scores so far.

Dropout needs no saved generator: the loop seeds it anew in every step from the seed, the step and the rank.
"""

from __future__ import annotations

import json
from dataclasses import asdict
from pathlib import Path

import torch
from safetensors.torch import load_file, save_file

from anneal_trainer.engine.state import TrainingState

MODEL_FOLDER = "model"
"""Folder of a finished run's last checkpoint: the best weights as a Hugging Face model."""

_STATE_FILE = "state.json"
_WEIGHTS_FILE = "weights.safetensors"
_BEST_FILE = "best.safetensors"
_OPTIMIZER_FILE = "optimizer.pt"


Weights = dict[str, torch.Tensor]


def save_checkpoint(
    folder: Path,
    state: TrainingState,
    weights: Weights,
    optimizer: torch.optim.Optimizer,
    best: Weights | None,
) -> None:
    """Writes a checkpoint into an empty folder.

    Args:
        folder: Where to write.
        state: Where training stands.
        weights: The model's state dict.
        optimizer: The optimizer.
        best: State dict of the best epoch so far, if any.
    """
    save_file(_detached(weights), folder / _WEIGHTS_FILE)
    torch.save(optimizer.state_dict(), folder / _OPTIMIZER_FILE)
    if best is not None:
        save_file(best, folder / _BEST_FILE)
    (folder / _STATE_FILE).write_text(json.dumps(asdict(state)), encoding="utf-8")


def load_state(folder: Path) -> TrainingState:
    """Returns where training stood at a checkpoint."""
    return TrainingState(**json.loads((folder / _STATE_FILE).read_text(encoding="utf-8")))


def load_checkpoint(
    folder: Path, model: torch.nn.Module, optimizer: torch.optim.Optimizer
) -> tuple[TrainingState, Weights | None]:
    """Puts a checkpoint into model and optimizer; returns where training stood and the best weights so far."""
    model.load_state_dict(load_file(folder / _WEIGHTS_FILE))
    # Over the CPU: the device that it was saved on may be another process's here, or not be there at all.
    optimizer.load_state_dict(torch.load(folder / _OPTIMIZER_FILE, map_location="cpu", weights_only=True))
    best = folder / _BEST_FILE
    # Copied, for what is loaded is mapped to its file, and another machine removes that at the next checkpoint.
    return load_state(folder), copied(load_file(best)) if best.exists() else None


def copied(weights: Weights) -> Weights:
    """Returns a copy of a state dict on the CPU that later steps leave alone."""
    return {name: tensor.detach().cpu().clone().contiguous() for name, tensor in weights.items()}


def _detached(weights: Weights) -> Weights:
    # safetensors refuses tensors that share memory, and tied embeddings do.
    seen: set[int] = set()
    detached: Weights = {}
    for name, tensor in weights.items():
        plain = tensor.detach().cpu().contiguous()
        detached[name] = plain.clone() if plain.data_ptr() in seen else plain
        seen.add(plain.data_ptr())
    return detached
