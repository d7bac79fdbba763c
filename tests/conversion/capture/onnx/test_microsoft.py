"""Operations that onnxruntime's optimiser and quantiser write; each import is held against it."""

from __future__ import annotations

import numpy as np
import onnx
import pytest
import torch
from onnx import helper, numpy_helper

import snnconvert
from snnconvert.conversion.graph.nodes import Clip
from tests.support.onnx_files import written

pytestmark = pytest.mark.filterwarnings("ignore")
DRAWN = np.random.default_rng(0)


def weights(*shape: int) -> np.ndarray:
    return (DRAWN.standard_normal(shape) * 0.3).astype(np.float32)


def integers(*shape: int) -> np.ndarray:
    return DRAWN.integers(-90, 90, shape).astype(np.int8)


def network_of(nodes, constants, shape, folder, out=1):
    """The network of a graph x -> y, which `load` has held against onnxruntime."""
    graph = helper.make_graph(
        nodes, "g", [helper.make_tensor_value_info("x", 1, shape)],
        [helper.make_tensor_value_info("y", out, None)],
        [numpy_helper.from_array(np.asarray(v), k) for k, v in constants.items()],
    )  # fmt: skip
    model = helper.make_model(graph, ir_version=8, opset_imports=[
        helper.make_opsetid("", 17), helper.make_opsetid("com.microsoft", 1)])  # fmt: skip
    return snnconvert.load(written(model, folder))


def node(op, inputs, output="y", **attributes) -> onnx.NodeProto:
    return helper.make_node(op, inputs, [output], domain="com.microsoft", **attributes)


def grouped(inputs, **attributes) -> onnx.NodeProto:
    """Two heads that share one pair of keys and values; old versions ask for all three outputs."""
    return helper.make_node(
        "GroupQueryAttention", inputs, ["y", "keys", "values"], domain="com.microsoft",
        num_heads=2, kv_num_heads=1, **attributes,
    )  # fmt: skip


def steps(directions: int) -> dict[str, np.ndarray]:
    """Scales and zero points of the two weights of a recurrent layer."""
    values = [np.full(directions, 0.004, np.float32), np.full(directions, 2, np.int8)] * 2
    return dict(zip(SCALES, values, strict=True))


SCALES = ["ws", "wz", "rs", "rz"]
ANGLES = {"c": weights(9, 2), "s": weights(9, 2)}
IMAGE, ROWS = ["N", 3, 6, 6], ["N", 5, 8]
FUSED = {
    "FusedConv, Relu": (
        [node("FusedConv", ["x", "w", "b"], activation="Relu", pads=[1, 1, 1, 1])],
        {"w": weights(4, 3, 3, 3), "b": weights(4)}, IMAGE),
    "FusedConv, sum, LeakyRelu": (
        [node("FusedConv", ["x", "w", "b", "x"], activation="LeakyRelu", activation_params=[0.2])],
        {"w": weights(3, 3, 1, 1), "b": weights(3)}, IMAGE),
    "FusedConv, Clip": (
        [node("FusedConv", ["x", "w"], activation="Clip", activation_params=[0.0, 0.4])],
        {"w": weights(3, 3, 1, 1)}, IMAGE),
    "FusedGemm": (
        [node("FusedGemm", ["x", "w", "b"], activation="Relu", transB=1)],
        {"w": weights(4, 8), "b": weights(4)}, ["N", 8]),
    "FusedMatMul": ([node("FusedMatMul", ["x", "x"], transB=1, alpha=0.5)], {}, ROWS),
    "Gelu": ([node("Gelu", ["x"])], {}, ROWS),
    "BiasGelu": ([node("BiasGelu", ["x", "b"])], {"b": weights(8)}, ROWS),
    "FastGelu": ([node("FastGelu", ["x", "b"])], {"b": weights(8)}, ROWS),
    "QuickGelu": ([node("QuickGelu", ["x"])], {}, ROWS),
    "SkipLayerNormalization": (
        [node("SkipLayerNormalization", ["x", "x", "w", "b", "c"])],
        {"w": weights(8), "b": weights(8), "c": weights(8)}, ROWS),
    "SkipSimplifiedLayerNormalization": (
        [node("SkipSimplifiedLayerNormalization", ["x", "x", "w"])], {"w": weights(8)}, ROWS),
    "Attention": (
        [node("Attention", ["x", "w", "b"], num_heads=2)],
        {"w": weights(8, 24), "b": weights(24)}, ROWS),
    "Attention, one way": (
        [node("Attention", ["x", "w", "b"], num_heads=2, unidirectional=1)],
        {"w": weights(8, 24), "b": weights(24)}, ROWS),
    "MultiHeadAttention": (
        [node("MultiHeadAttention", ["x", "x", "x", "b"], num_heads=2)], {"b": weights(24)}, ROWS),
    "MultiHeadAttention, keys by heads": (
        [node("MultiHeadAttention", ["x", "k", "v", "", "", "a"], num_heads=2)],
        {"k": weights(1, 2, 3, 4), "v": weights(1, 2, 3, 4), "a": weights(1, 1, 5, 3)},
        [1, 5, 8]),
    "QAttention": (
        [helper.make_node("DynamicQuantizeLinear", ["x"], ["a", "s", "z"]),
         node("QAttention", ["a", "q", "b", "s", "t", "m", "z", "u"], num_heads=2)],
        {"q": integers(8, 24), "b": weights(24), "t": np.float32(0.01), "u": np.int8(3),
         "m": np.array([[1, 1, 1, 1, 0]], np.int32)}, [1, 5, 8]),
    "GroupQueryAttention": (
        [grouped(["x", "k", "v", "", "", "last", "all"])],
        {"k": weights(1, 5, 8), "v": weights(1, 5, 8), "last": np.array([4], np.int32),
         "all": np.int32(5)}, [1, 5, 16]),
    "GroupQueryAttention, turned, near": (
        [grouped(["x", "", "", "", "", "last", "all", "c", "s"], do_rotary=1, rotary_interleaved=1,
                 local_window_size=2, softcap=3.0, scale=0.4)],
        {"last": np.array([4], np.int32), "all": np.int32(5), "c": weights(9, 8),
         "s": weights(9, 8)}, [1, 5, 64]),
    "RotaryEmbedding": (
        [node("RotaryEmbedding", ["x", "at", "c", "s"])], {"at": np.array([2]), **ANGLES}, ROWS),
    "RotaryEmbedding, part, side by side": (
        [node("RotaryEmbedding", ["x", "at", "c", "s"], num_heads=1, rotary_embedding_dim=4,
              interleaved=1)],
        {"at": np.array([[0, 3, 1, 2, 5]]), **ANGLES}, [1, 5, 8]),
    "RotaryEmbedding, by heads": (
        [node("RotaryEmbedding", ["x", "at", "c", "s"])],
        {"at": np.array([0]), **ANGLES}, ["N", 3, 5, 4]),
    "DynamicQuantizeLSTM": (
        [node("DynamicQuantizeLSTM", ["x", "w", "r", "b", "", "", "", "", *SCALES], hidden_size=6)],
        {"w": integers(1, 8, 24), "r": integers(1, 6, 24), "b": weights(1, 48), **steps(1)},
        [3, 2, 8]),
    "DynamicQuantizeLSTM, both ways": (
        [node("DynamicQuantizeLSTM", ["x", "w", "r", "", "", "", "", "", *SCALES], hidden_size=6,
              direction="bidirectional")],
        {"w": integers(2, 8, 24), "r": integers(2, 6, 24), **steps(2)}, [2, 1, 8]),
    "QEmbedLayerNormalization": (
        [helper.make_node("ArgMax", ["x"], ["best"], axis=2, keepdims=0),
         helper.make_node("Cast", ["best"], ["words"], to=6),
         helper.make_node("Cast", ["best"], ["segments"], to=6),
         helper.make_node("QEmbedLayerNormalization",
                          ["words", "segments", "q", "p", "g", "w", "b", "", *["s"] * 5,
                           *["z"] * 5], ["y", "length"], domain="com.microsoft")],
        {"q": integers(8, 8), "p": integers(9, 8), "g": integers(8, 8), "w": integers(8),
         "b": integers(8), "s": np.float32(0.01), "z": np.int8(4)}, ROWS),
    "MatMulNBits": (
        [node("MatMulNBits", ["x", "q", "s"], K=32, N=5, bits=4, block_size=16)],
        {"q": DRAWN.integers(0, 256, (5, 2, 8)).astype(np.uint8), "s": weights(5, 2)},
        ["N", 3, 32]),
    "MatMulNBits, zero points, bias": (
        [node("MatMulNBits", ["x", "q", "s", "z", "", "b"], K=40, N=5, bits=4, block_size=16)],
        {"q": DRAWN.integers(0, 256, (5, 3, 8)).astype(np.uint8), "s": weights(15), "b": weights(5),
         "z": DRAWN.integers(0, 256, 10).astype(np.uint8)}, ["N", 3, 40]),
    "SimplifiedLayerNormalization": (
        [helper.make_node("SimplifiedLayerNormalization", ["x", "w"], ["y"], epsilon=1e-3)],
        {"w": weights(8)}, ROWS),
    "DynamicQuantizeMatMul": (
        [node("DynamicQuantizeMatMul", ["x", "q", "s", "z", "b"])],
        {"q": integers(8, 4), "s": np.full(4, 0.01, np.float32), "z": np.zeros(4, np.int8),
         "b": weights(4)}, ROWS),
    "MatMulIntegerToFloat": (
        [helper.make_node("DynamicQuantizeLinear", ["x"], ["a", "s", "z"]),
         node("MatMulIntegerToFloat", ["a", "q", "s", "t", "z", "u"])],
        {"q": integers(8, 4), "t": np.float32(0.01), "u": np.int8(2)}, ROWS),
}  # fmt: skip


@pytest.mark.parametrize("name", FUSED)
def test_fused(name, tmp_path):
    nodes, constants, shape = FUSED[name]
    network = network_of(nodes, constants, shape, tmp_path)
    x = torch.rand(4 if shape[0] == "N" else 1, *shape[1:])
    if "Dynamic" not in str(nodes):  # the scale is the whole batch's
        assert torch.allclose(network(x)[:2], network(x[:2]), atol=1e-6)


def quantised(*middle: onnx.NodeProto) -> list[onnx.NodeProto]:
    """x, quantised; the nodes; y, a quantised r, made float again."""
    first = helper.make_node("QuantizeLinear", ["x", "xs", "xz"], ["q"])
    last = helper.make_node("DequantizeLinear", ["r", "rs", "rz"], ["y"])
    return [first, *middle, last]


NUMBERS = {"xs": np.float32(0.01), "xz": np.uint8(3), "rs": np.float32(0.0173), "rz": np.uint8(1)}
ONE, RESULT = ["q", "xs", "xz"], ["rs", "rz"]
BETWEEN = {
    "QLinearAdd": ([*ONE, *ONE, *RESULT], {}), "QLinearMul": ([*ONE, *ONE, *RESULT], {}),
    "QLinearSigmoid": ([*ONE, *RESULT], {}),
    "QGemm": ([*ONE, "w", "ws", "wz", "b", *RESULT], {"transB": 1}),
    "QGemm, alpha": ([*ONE, "v", "xs", "z", "b", *RESULT], {"alpha": 0.7}),
    "QLinearLeakyRelu": ([*ONE, *RESULT], {"alpha": 0.1}),
    "QLinearAveragePool": ([*ONE, *RESULT], {"kernel_shape": [2, 2], "strides": [2, 2]}),
    "QLinearGlobalAveragePool": ([*ONE, *RESULT], {}),
    "QLinearConcat": ([*RESULT, *ONE, *ONE], {"axis": 1}),
    "QLinearWhere": (["mask", *ONE, "other", "xs", "xz", *RESULT], {}),
    "QLinearSoftmax": ([*ONE, *RESULT], {"opset": 17, "axis": 2}),
    "QLinearSoftmax, all behind": ([*ONE, *RESULT], {"opset": 12, "axis": 2}),
}  # fmt: skip


@pytest.mark.parametrize("op", BETWEEN)
def test_integer_operations_become_float_ones_between_quantisers(op, tmp_path):
    inputs, attributes = BETWEEN[op]
    op = op.partition(",")[0]
    nodes = quantised(node(op, inputs, "r", **attributes))
    constants = {
        "w": integers(4, 6), "ws": np.full(4, 0.01, np.float32), "wz": np.zeros(4, np.int8),
        "v": integers(6, 4), "z": np.int8(0), "b": DRAWN.integers(-999, 999, 4).astype(np.int32),
        "mask": DRAWN.random((3, 6, 6)) < 0.5, "other": np.full((3, 1, 1), 200, np.uint8),
    }  # fmt: skip
    constants = {name: value for name, value in constants.items() if name in inputs}
    shape = ["N", 6] if op == "QGemm" else IMAGE
    network = network_of(nodes, NUMBERS | constants, shape, tmp_path)
    names = {item.op for item in network.program.nodes}
    assert "aten.fake_quantize_per_tensor_affine.default" in names


def test_thresholds_come_from_what_is_quantised(tmp_path):
    conv = helper.make_node("QLinearConv", ["q", "xs", "xz", "w", "xs", "wz", "rs", "zero"], ["a"])
    again = helper.make_node(
        "QLinearConv", ["m", "rs", "zero", "v", "xs", "wz", "rs", "rz"], ["r"])  # fmt: skip
    pool = node("QLinearAveragePool", ["a", "rs", "zero", "rs", "zero"], "m", kernel_shape=[2, 2],
                strides=[2, 2])  # fmt: skip
    constants = NUMBERS | {
        "w": DRAWN.integers(-90, 90, (4, 3, 1, 1)).astype(np.int8), "wz": np.int8(0),
        "v": DRAWN.integers(-90, 90, (2, 4, 1, 1)).astype(np.int8), "zero": np.uint8(0),
    }  # fmt: skip
    network = network_of(quantised(conv, pool, again), constants, IMAGE, tmp_path)
    snn = snnconvert.convert(network, 255)
    clips = [Clip.of(n) for n in snn.quantized_ann().program.nodes if Clip.found(n)]
    assert clips and {clip.levels for clip in clips} == {255}
