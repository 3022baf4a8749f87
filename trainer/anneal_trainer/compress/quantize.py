"""Dynamic int8 quantization of an ONNX model (weights stored, activations quantized as they come)."""

from __future__ import annotations

import logging
import tempfile
from pathlib import Path

from onnxruntime.quantization import QuantType, quantize_dynamic
from onnxruntime.quantization.shape_inference import quant_pre_process

from anneal_api.spec.compression import Quantize

_MATRIX_PRODUCTS = ["MatMul", "Gemm"]


def quantize_int8(source: Path, target: Path, settings: Quantize) -> None:
    """Writes an int8 variant of an fp32 ONNX model.

    Args:
        source: The fp32 `.onnx` file.
        target: The int8 `.onnx` file.
        settings: One scale a channel or a matrix; with or without the embedding tables.
    """
    operators = [*_MATRIX_PRODUCTS, "Gather"] if settings.embeddings else _MATRIX_PRODUCTS
    root = logging.getLogger()
    level = root.level
    root.setLevel(logging.ERROR)  # the quantizer logs advice to the root logger
    try:
        with tempfile.TemporaryDirectory() as scratch:
            prepared = Path(scratch) / "prepared.onnx"
            quant_pre_process(source, prepared, skip_symbolic_shape=True)
            quantize_dynamic(
                prepared,
                target,
                op_types_to_quantize=operators,
                per_channel=settings.per_channel,
                weight_type=QuantType.QInt8,
            )
    finally:
        root.setLevel(level)
