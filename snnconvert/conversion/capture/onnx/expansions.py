"""Integer operations of onnxruntime as float ones between quantisers.

QLinearConv(x, w) becomes QuantizeLinear(Conv(DequantizeLinear(x), DequantizeLinear(w))), and so do
products, sums, pools and the like.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import onnx_ir as ir
from onnx_ir import convenience

from snnconvert.conversion.capture.onnx.build import STANDARD

Input = ir.Value | None
BETWEEN = {  # of com.microsoft: the float operation, and where its quantised inputs begin
    "QLinearAdd": ("Add", (0, 3)), "QLinearMul": ("Mul", (0, 3)),
    "QLinearSigmoid": ("Sigmoid", (0,)), "QLinearLeakyRelu": ("LeakyRelu", (0,)),
    "QLinearAveragePool": ("AveragePool", (0,)), "QLinearReduceMean": ("ReduceMean", (0,)),
    "QLinearGlobalAveragePool": ("GlobalAveragePool", (0,)),
}  # fmt: skip


def expand(graph: ir.Graph, node: ir.Node) -> None:
    """Rewrite `node` in place, if it is one of these."""
    if node.op_type in EXPANSIONS:
        EXPANSIONS[node.op_type](graph, node)
    elif node.op_type in BETWEEN and not number_of(node, "channels_last"):
        op, places = BETWEEN[node.op_type]
        starts = [node.inputs[at : at + 3] for at in places]
        expand_between(graph, node, op, starts, node.inputs[3 * len(places) :])


def constant_of(value: ir.Value) -> Any:
    """What the file holds of a value, also under another name; None where it is computed."""
    while (node := value.producer()) is not None and node.op_type == "Identity":
        if node.inputs[0] is None:
            return None
        value = node.inputs[0]
    return convenience.get_const_tensor(value)


def is_number(value: ir.Value | None) -> bool:
    tensor = None if value is None else constant_of(value)
    return tensor is not None and tensor.size == 1


def made(
    op: str, inputs: Sequence[Input], node: ir.Node, part: str, results: int = 1, **attributes: int
) -> ir.Node:
    """A new node that stands for a part of `node`."""
    label = node.name or str(node.outputs[0].name)
    listed = [ir.AttrInt64(name, value) for name, value in attributes.items()]
    version = node.version if node.domain in STANDARD else None
    new = ir.Node("", op, inputs, listed, name=f"{label}_{part}", version=version,
                  num_outputs=results)  # fmt: skip
    for index, output in enumerate(new.outputs):
        output.name = f"{label}_{part}_result{index or ''}"
    return new


def replace(graph: ir.Graph, node: ir.Node, new: list[ir.Node]) -> None:
    convenience.replace_nodes_and_values(
        graph, node, [node], new, [node.outputs[0]], [new[-1].outputs[0]]
    )


def expand_conv(graph: ir.Graph, node: ir.Node) -> None:
    """Inputs x, scale, zero point, w, scale, zero point, those of the result, bias."""
    x, x_scale, x_zero, w, w_scale, w_zero, y_scale, y_zero, *bias = node.inputs
    first = made("DequantizeLinear", [x, x_scale, x_zero], node, "input")
    weight = made("DequantizeLinear", [w, w_scale, w_zero], node, "weight", axis=0)
    new, inputs = [first, weight], [first.outputs[0], weight.outputs[0]]
    if bias and bias[0] is not None:
        unit = made("Mul", [x_scale, w_scale], node, "unit")
        added = made("DequantizeLinear", [bias[0], unit.outputs[0]], node, "bias", axis=0)
        new += [unit, added]
        inputs.append(added.outputs[0])
    conv = made("Conv", inputs, node, "conv")
    for attribute in node.attributes.values():
        conv.attributes[attribute.name] = attribute
    result = made("QuantizeLinear", [conv.outputs[0], y_scale, y_zero], node, "output")
    replace(graph, node, [*new, conv, result])


def expand_matmul(graph: ir.Graph, node: ir.Node) -> None:
    a, a_scale, a_zero, b, b_scale, b_zero, y_scale, y_zero = node.inputs
    if not all(map(is_number, (a_scale, b_scale))):
        return  # each row or column has a scale of its own
    first = made("DequantizeLinear", [a, a_scale, a_zero], node, "input")
    second = made("DequantizeLinear", [b, b_scale, b_zero], node, "weight")
    product = made("MatMul", [first.outputs[0], second.outputs[0]], node, "product")
    result = made("QuantizeLinear", [product.outputs[0], y_scale, y_zero], node, "output")
    replace(graph, node, [first, second, product, result])


def expand_between(
    graph: ir.Graph,
    node: ir.Node,
    op: str,
    parts: Sequence[Sequence[Input]],
    result: Sequence[Input],
    before: Sequence[Input] = (),
) -> None:
    """`op` of dequantised parts (value, scale, zero point), quantised by `result`.

    Inputs `before` them are not quantised.
    """
    first = [made("DequantizeLinear", part, node, f"input_{i}") for i, part in enumerate(parts)]
    inner = made(op, [*before, *(new.outputs[0] for new in first)], node, op.lower())
    for attribute in node.attributes.values():
        inner.attributes[attribute.name] = attribute
    last = made("QuantizeLinear", [inner.outputs[0], *result], node, "output")
    replace(graph, node, [*first, inner, last])


def expand_concat(graph: ir.Graph, node: ir.Node) -> None:
    parts = [node.inputs[at : at + 3] for at in range(2, len(node.inputs), 3)]
    expand_between(graph, node, "Concat", parts, node.inputs[:2])


def expand_where(graph: ir.Graph, node: ir.Node) -> None:
    parts = [node.inputs[1:4], node.inputs[4:7]]
    expand_between(graph, node, "Where", parts, node.inputs[7:9], node.inputs[:1])


def expand_softmax(graph: ir.Graph, node: ir.Node) -> None:
    """QLinearSoftmax. Before opset 13 (an attribute), all from `axis` on is one row.

    onnxruntime counts in whole steps of the result: 1 / scale, rounded down.
    """
    x, x_scale, x_zero, y_scale, y_zero = padded(node, 5)
    first = made("DequantizeLinear", [x, x_scale, x_zero], node, "input")
    if number_of(node, "opset", 13) >= 13:
        new = [made("Softmax", first.outputs, node, "softmax", axis=number_of(node, "axis", -1))]
    else:
        rows = made("Flatten", first.outputs, node, "rows", axis=number_of(node, "axis", 1))
        soft = made("Softmax", rows.outputs, node, "softmax", axis=1)
        shape = made("Shape", first.outputs, node, "shape")
        back = made("Reshape", [soft.outputs[0], shape.outputs[0]], node, "back")
        new = [rows, soft, shape, back]
    inverse = made("Reciprocal", [y_scale], node, "inverse")
    whole = made("Floor", inverse.outputs, node, "whole")
    step = made("Reciprocal", whole.outputs, node, "step")
    last = made("QuantizeLinear", [*new[-1].outputs, *step.outputs, y_zero], node, "output")
    replace(graph, node, [first, *new, inverse, whole, step, last])


def expand_gemm(graph: ir.Graph, node: ir.Node) -> None:
    """QGemm. Inputs a, scale, zero point, b, scale, zero point, bias, those of the result or none.

    The bias counts in units of both scales, and `alpha` scales it too.
    """
    a, a_scale, a_zero, b, b_scale, b_zero, bias, y_scale, y_zero = padded(node, 9)
    transposed = number_of(node, "transB")
    first = made("DequantizeLinear", [a, a_scale, a_zero], node, "input")
    second = made("DequantizeLinear", [b, b_scale, b_zero], node, "weight", axis=1 - transposed)
    new, inputs = [first, second], [first.outputs[0], second.outputs[0]]
    gemm_attributes = [v for k, v in node.attributes.items() if k in ("alpha", "transA", "transB")]
    if bias is not None:
        unit = made("Mul", [a_scale, b_scale], node, "unit")
        added = made("DequantizeLinear", [bias, unit.outputs[0]], node, "bias", axis=0)
        new += [unit, added]
        inputs.append(added.outputs[0])
        alpha = node.attributes.get("alpha")
        gemm_attributes += [] if alpha is None else [ir.AttrFloat32("beta", alpha.as_float())]
    new.append(made("Gemm", inputs, node, "product"))
    for attribute in gemm_attributes:
        new[-1].attributes[attribute.name] = attribute
    if y_scale is not None:
        new.append(made("QuantizeLinear", [new[-1].outputs[0], y_scale, y_zero], node, "output"))
    replace(graph, node, new)


def expand_to_float(graph: ir.Graph, node: ir.Node) -> None:
    """MatMulIntegerToFloat. Inputs a, b, their scales, their zero points, what is added."""
    a, b, a_scale, b_scale, a_zero, b_zero, bias = padded(node, 7)
    first = made("DequantizeLinear", [a, a_scale, a_zero], node, "input", axis=-2)
    product_with_weight(graph, node, [first], (b, b_scale, b_zero), bias)


def expand_dynamic(graph: ir.Graph, node: ir.Node) -> None:
    """DynamicQuantizeMatMul. Inputs a, b, scale and zero point of b, what is added."""
    a, b, b_scale, b_zero, bias = padded(node, 5)
    counted = made("DynamicQuantizeLinear", [a], node, "counted", results=3)
    first = made("DequantizeLinear", list(counted.outputs), node, "input")
    product_with_weight(graph, node, [counted, first], (b, b_scale, b_zero), bias)


def product_with_weight(
    graph: ir.Graph, node: ir.Node, new: list[ir.Node], weight: Sequence[Input], bias: Input
) -> None:
    """The last of `new` times a dequantised `weight`, and `bias` added."""
    second = made("DequantizeLinear", list(weight), node, "weight", axis=-1)
    product = made("MatMul", [new[-1].outputs[0], second.outputs[0]], node, "product")
    new = [*new, second, product]
    if bias is not None:
        new.append(made("Add", [product.outputs[0], bias], node, "bias"))
    replace(graph, node, new)


def padded(node: ir.Node, count: int) -> list[Input]:
    """The inputs, None where there are fewer than `count`."""
    return [*node.inputs, *[None] * (count - len(node.inputs))]


def number_of(node: ir.Node, name: str, default: int = 0) -> int:
    """A whole number among the attributes."""
    return node.attributes.get_int(name, default)


EXPANSIONS: dict[str, Callable[[ir.Graph, ir.Node], None]] = {
    "QLinearConv": expand_conv, "QLinearMatMul": expand_matmul, "QLinearConcat": expand_concat,
    "QLinearWhere": expand_where, "QLinearSoftmax": expand_softmax, "QGemm": expand_gemm,
    "MatMulIntegerToFloat": expand_to_float, "DynamicQuantizeMatMul": expand_dynamic,
}  # fmt: skip
