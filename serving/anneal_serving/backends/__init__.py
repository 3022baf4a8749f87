"""What computes a model: tensors in, logits out."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from anneal_api.published import BackendKind, PredictorConfig

__all__ = ["Backend", "load_backend"]


class Backend(Protocol):
    """Computes a model. Safe to share between threads; one call uses one core."""

    def run(self, batch: Mapping[str, NDArray[np.int64]]) -> NDArray[np.float32]:
        """Returns the logits [rows, labels] for the model's inputs, [rows, tokens] each."""


def load_backend(folder: Path, config: PredictorConfig) -> Backend:
    """Returns what computes a model.

    Args:
        folder: The model's folder.
        config: Names the kind of backend and the file with the weights.

    Raises:
        ArtifactInvalid: The weights are missing or cannot be read.
    """
    if config.backend is BackendKind.TORCH:
        from anneal_serving.backends.torch import TorchBackend  # noqa: PLC0415  # seconds of import time

        return TorchBackend(folder, config)
    from anneal_serving.backends.onnxruntime import OnnxRuntimeBackend  # noqa: PLC0415  # only where it serves

    return OnnxRuntimeBackend(folder, config)
