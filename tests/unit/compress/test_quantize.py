import logging

import numpy as np
import onnx
import onnxruntime as ort
import pytest
from onnx import TensorProto, helper, numpy_helper

from anneal_api.spec.compression import Quantize
from anneal_trainer.compress.quantize import narrowing_products, quantize_int8

_WIDTH, _WIDER = 64, 256


@pytest.fixture
def feed_forward(tmp_path):
    """A widening product, a ReLU, a narrowing product: the half of a layer that is hard to quantize."""
    random = np.random.default_rng(0)
    weights = {
        "up": random.normal(0, 0.2, (_WIDTH, _WIDER)),
        "down": random.normal(0, 0.1, (_WIDER, _WIDTH)),
    }
    weights["up"][:, :2] *= 20  # two channels far larger than the rest
    graph = helper.make_graph(
        [
            helper.make_node("MatMul", ["x", "up"], ["wide"], name="up_product"),
            helper.make_node("Relu", ["wide"], ["active"]),
            helper.make_node("MatMul", ["active", "down"], ["y"], name="down_product"),
        ],
        "feed-forward",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, ["rows", _WIDTH])],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, ["rows", _WIDTH])],
        [numpy_helper.from_array(value.astype(np.float32), name) for name, value in weights.items()],
    )
    path = tmp_path / "fp32.onnx"
    onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=10), path)
    return path


def _answer(path, rows):
    (answer,) = ort.InferenceSession(path, providers=["CPUExecutionProvider"]).run(None, {"x": rows})
    return answer


def test_narrowing_products_are_computed_in_blocks_and_lose_little(feed_forward, tmp_path):
    assert narrowing_products(onnx.load(feed_forward)) == ["down_product"]
    target = tmp_path / "int8.onnx"
    quantize_int8(feed_forward, target, Quantize())
    kinds = [node.op_type for node in onnx.load(target).graph.node]
    assert kinds.count("MatMulNBits") == 1
    assert kinds.count("MatMulInteger") == 1
    rows = np.random.default_rng(1).normal(0, 1, (32, _WIDTH)).astype(np.float32)
    exact, quantized = _answer(feed_forward, rows), _answer(target, rows)
    assert np.abs(quantized - exact).mean() < 0.02 * np.abs(exact).mean()


def test_it_is_about_four_times_smaller(feed_forward, tmp_path):
    target = tmp_path / "int8.onnx"
    quantize_int8(feed_forward, target, Quantize())
    assert target.stat().st_size < 0.35 * feed_forward.stat().st_size


def test_the_log_is_left_as_it_was(feed_forward, tmp_path):
    root = logging.getLogger()
    before = (root.level, root.handlers[:], logging.root.manager.disable)
    quantize_int8(feed_forward, tmp_path / "int8.onnx", Quantize())
    assert (root.level, root.handlers, logging.root.manager.disable) == before


def test_a_matrix_that_is_turned_round_is_quantized_where_the_file_says_its_shape(tmp_path):
    """PyTorch writes a head as Gemm with its matrix transposed, and notes every tensor's shape."""
    head = np.random.default_rng(0).normal(0, 1, (3, _WIDTH)).astype(np.float32)
    graph = helper.make_graph(
        [helper.make_node("Gemm", ["x", "head", "bias"], ["y"], name="head_product", transB=1)],
        "head",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, ["rows", _WIDTH])],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, ["rows", 3])],
        [numpy_helper.from_array(head, "head"), numpy_helper.from_array(np.zeros(3, np.float32), "bias")],
        value_info=[helper.make_tensor_value_info("head", TensorProto.FLOAT, [3, _WIDTH])],
    )
    source, target = tmp_path / "fp32.onnx", tmp_path / "int8.onnx"
    onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=10), source)
    quantize_int8(source, target, Quantize())
    rows = np.random.default_rng(1).normal(0, 1, (32, _WIDTH)).astype(np.float32)
    exact, quantized = _answer(source, rows), _answer(target, rows)
    assert np.abs(quantized - exact).mean() < 0.05 * np.abs(exact).mean()
