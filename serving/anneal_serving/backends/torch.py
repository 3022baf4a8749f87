"""Computes a model with PyTorch: the reference that other backends are compared with."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from safetensors import SafetensorError
from transformers import AutoModelForSequenceClassification, PreTrainedModel
from transformers.utils import logging

from anneal_api.errors import ArtifactInvalid
from anneal_api.published import PredictorConfig


class TorchBackend:
    """A model as Hugging Face saves it, in fp32 on the CPU. torch computes with one thread from then on.

    Args:
        folder: Holds `config.json` and the safetensors weights.
        config: Names the task.

    Raises:
        ArtifactInvalid: The weights are missing or do not fit the configuration.
    """

    def __init__(self, folder: Path, config: PredictorConfig) -> None:
        bars = logging.is_progress_bar_enabled()
        logging.disable_progress_bar()
        try:
            model: PreTrainedModel = AutoModelForSequenceClassification.from_pretrained(
                folder, dtype=torch.float32, use_safetensors=True, local_files_only=True
            )
        except (OSError, ValueError, RuntimeError, SafetensorError) as error:
            raise ArtifactInvalid(
                f"The model cannot be loaded: {error}.",
                where=str(folder / config.model_file),
                remedy="Publish the model again, or copy its whole folder again.",
            ) from error
        finally:
            if bars:
                logging.enable_progress_bar()
        # One core a row and several rows at a time, as with ONNX Runtime: a row's threads would take other rows' cores.
        torch.set_num_threads(1)
        self._model = model.eval()

    def run(self, batch: Mapping[str, NDArray[np.int64]]) -> NDArray[np.float32]:
        """See `Backend.run`."""
        inputs = {name: torch.from_numpy(values) for name, values in batch.items()}
        with torch.inference_mode():
            logits: NDArray[np.float32] = self._model(**inputs).logits.numpy()
        return logits
