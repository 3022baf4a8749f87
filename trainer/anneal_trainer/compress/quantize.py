"""int8 quantization of an ONNX model: weights stored in 8 bits, activations quantized as they come.

A matrix that narrows takes what an activation function widened, a few of whose values are far larger than the rest.
One scale for all of them loses the others, so these matrices are computed in blocks with a scale each, which keeps
three times as many labels and is no slower. All others have one scale per output channel and one per input.
"""

from __future__ import annotations

import logging
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import onnx
from onnxruntime.quantization import QuantType, quantize_dynamic
from onnxruntime.quantization.shape_inference import quant_pre_process

from anneal_api.spec.compression import Quantize

_MATRIX_PRODUCTS = ["MatMul", "Gemm"]
_NARROWS = 2
"""A matrix with this many times more inputs than outputs is computed in blocks."""
_BLOCK = 64
_COMPUTE_IN_INT8 = 4
"""The level of ONNX Runtime's MatMulNBits that quantizes the activations too."""


def quantize_int8(source: Path, target: Path, settings: Quantize) -> None:
    """Writes an int8 variant of an fp32 ONNX model.

    Args:
        source: The fp32 `.onnx` file.
        target: The int8 `.onnx` file.
        settings: One scale a channel or a matrix; with or without the embedding tables.
    """
    operators = [*_MATRIX_PRODUCTS, "Gather"] if settings.embeddings else _MATRIX_PRODUCTS
    with _quiet_log(), tempfile.TemporaryDirectory() as scratch:
        prepared, dynamic = Path(scratch) / "prepared.onnx", Path(scratch) / "dynamic.onnx"
        quant_pre_process(source, prepared, skip_symbolic_shape=True)
        model = onnx.load(prepared)
        # onnxruntime before 1.32 turns matrices round and stumbles over their old shapes, which it infers anew.
        del model.graph.value_info[:]
        onnx.save(model, prepared)
        quantize_dynamic(
            prepared,
            dynamic,
            op_types_to_quantize=operators,
            nodes_to_exclude=narrowing_products(model),
            per_channel=settings.per_channel,
            weight_type=QuantType.QInt8,
        )
        _quantize_blocks(dynamic, target)


def narrowing_products(model: onnx.ModelProto) -> list[str]:
    """Returns the names of the matrix products with a constant matrix of many more inputs than outputs."""
    shapes = {constant.name: tuple(constant.dims) for constant in model.graph.initializer}
    products = [node for node in model.graph.node if node.op_type == "MatMul"]
    return [
        node.name
        for node in products
        if len(shape := shapes.get(node.input[1], ())) == 2 and shape[0] >= _NARROWS * shape[1]  # noqa: PLR2004
    ]


def _quantize_blocks(source: Path, target: Path) -> None:
    from onnxruntime.quantization.matmul_nbits_quantizer import MatMulNBitsQuantizer  # noqa: PLC0415  # see _quiet_log

    quantizer = MatMulNBitsQuantizer(
        onnx.load(source), bits=8, block_size=_BLOCK, is_symmetric=True, accuracy_level=_COMPUTE_IN_INT8
    )
    quantizer.process()
    onnx.save(quantizer.model.model, target)


@contextmanager
def _quiet_log() -> Iterator[None]:
    """Keeps the quantizers' advice off the root logger, which one of them even sets up when it is imported."""
    root = logging.getLogger()
    level, handlers, disabled = root.level, root.handlers[:], logging.root.manager.disable
    root.setLevel(logging.ERROR)
    logging.disable(logging.INFO)
    try:
        yield
    finally:
        logging.disable(disabled)
        root.setLevel(level)
        root.handlers[:] = handlers
