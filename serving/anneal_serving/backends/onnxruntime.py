"""Computes a model with ONNX Runtime on the CPU."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import numpy as np
import onnxruntime as ort
from numpy.typing import NDArray

from anneal_api.errors import ArtifactInvalid
from anneal_api.published import PredictorConfig

_LOG_ERRORS_ONLY = 3


class OnnxRuntimeBackend:
    """An ONNX file in an inference session.

    Args:
        folder: The model's folder.
        config: Names the file and the inputs.

    Raises:
        ArtifactInvalid: The file is missing, is no ONNX model, or does not fit the codec and the labels.
    """

    def __init__(self, folder: Path, config: PredictorConfig) -> None:
        options = ort.SessionOptions()
        # One core a row and several rows at a time: no core waits for another inside a small model.
        options.intra_op_num_threads = 1
        options.inter_op_num_threads = 1
        options.add_session_config_entry("session.intra_op.allow_spinning", "0")
        options.log_severity_level = _LOG_ERRORS_ONLY
        path = folder / config.model_file
        try:
            self._session = ort.InferenceSession(path, options, providers=["CPUExecutionProvider"])
        except Exception as error:  # ONNX Runtime's errors have no common class of their own
            raise ArtifactInvalid(
                f"The model cannot be loaded: {error}.",
                where=str(path),
                remedy="Publish the model again, or copy its whole folder again.",
            ) from error
        inputs = {value.name for value in self._session.get_inputs()}
        if inputs != set(config.codec.inputs):
            raise ArtifactInvalid(
                f"The model's inputs are {', '.join(sorted(inputs))}, "
                f"but its manifest names {', '.join(sorted(config.codec.inputs))}.",
                where=str(path),
                remedy="Publish the model again.",
            )
        self._outputs = [self._session.get_outputs()[0].name]

    def run(self, batch: Mapping[str, NDArray[np.int64]]) -> NDArray[np.float32]:
        """See `Backend.run`."""
        logits: NDArray[np.float32] = self._session.run(self._outputs, dict(batch))[0]
        return logits
