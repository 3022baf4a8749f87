"""Computes a model with PyTorch: the reference that other backends are compared with."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from safetensors import SafetensorError

from anneal_api.errors import ArtifactInvalid
from anneal_api.published import PredictorConfig
from anneal_serving.backends.last_token import read_last_token
from anneal_serving.pretrained import load_classifier


class TorchBackend:
    """A model as Hugging Face saves it, in fp32 on the CPU. torch computes with one thread from then on.

    Args:
        folder: Holds `config.json` and the safetensors weights.
        config: Names the task.

    Raises:
        ArtifactInvalid: The weights are missing or do not fit the configuration.
    """

    def __init__(self, folder: Path, config: PredictorConfig) -> None:
        place = folder / config.model_file
        again = "Publish the model again, or copy its whole folder again."
        try:
            model, report = load_classifier(folder.absolute())
        except (OSError, ValueError, RuntimeError, SafetensorError) as error:
            raise ArtifactInvalid(
                f"The model cannot be loaded: {error}.", where=str(place), remedy=again
            ) from error
        random = sorted(report.missing | report.mismatched)
        if random:
            raise ArtifactInvalid(
                f"The weights do not fit config.json: {random[0]} is missing or of another shape"
                f"{f', and {len(random) - 1} more' if len(random) > 1 else ''}.",
                where=str(place),
                remedy=again,
            )
        read_last_token(model)
        # One core a row and several rows at a time, as with ONNX Runtime: a row's threads would take other rows' cores.
        torch.set_num_threads(1)
        self._model = model.eval()

    def run(self, batch: Mapping[str, NDArray[np.int64]]) -> NDArray[np.float32]:
        """See `Backend.run`."""
        inputs = {name: torch.from_numpy(values) for name, values in batch.items()}
        with torch.inference_mode():
            logits: NDArray[np.float32] = self._model(**inputs).logits.numpy()
        return logits
