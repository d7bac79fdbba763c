"""Rewrites quantised graphs so that what is quantised is seen: float operations between quantisers.

QLinearConv and QLinearMatMul become a float operation between DequantizeLinear and QuantizeLinear,
and a pair of these around a value becomes one node, in which a conversion finds a threshold.
"""

from __future__ import annotations

from typing import Any

import onnx_ir as ir
from onnx_ir import convenience

from snnconvert.conversion.capture.onnx.build import STANDARD
from snnconvert.conversion.capture.onnx.operations import PAIR

UINT8 = 2
BETWEEN = {  # of com.microsoft: the float operation, and where its quantised inputs begin
    "QLinearAdd": ("Add", (0, 3)), "QLinearMul": ("Mul", (0, 3)),
    "QLinearSigmoid": ("Sigmoid", (0,)),
    "QLinearLeakyRelu": ("LeakyRelu", (0,)),
    "QLinearAveragePool": ("AveragePool", (0,)), "QLinearReduceMean": ("ReduceMean", (0,)),
    "QLinearGlobalAveragePool": ("GlobalAveragePool", (0,)),
}  # fmt: skip


def lay_open_quantisers(graph: ir.Graph) -> None:
    """Rewrite the main graph of a model in place."""
    for node in list(graph):
        if node.op_type == "QLinearConv":
            expand_conv(graph, node)
        elif node.op_type == "QLinearMatMul" and all(is_number(node.inputs[i]) for i in (1, 4)):
            expand_matmul(graph, node)
        elif node.op_type in BETWEEN and not node.attributes.get_int("channels_last", 0):
            op, places = BETWEEN[node.op_type]
            starts = [node.inputs[at : at + 3] for at in places]
            expand_between(graph, node, op, starts, node.inputs[3 * len(places) :])
        elif node.op_type == "QLinearConcat":
            parts = [node.inputs[at : at + 3] for at in range(2, len(node.inputs), 3)]
            expand_between(graph, node, "Concat", parts, node.inputs[:2])
    for node in list(graph):
        if node.op_type == "DequantizeLinear" and node.inputs[0] is not None:
            first = node.inputs[0].producer()
            if first is not None and undoes(first, node):
                join(graph, first, node)


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


def made(op: str, inputs: Any, node: ir.Node, part: str, **attributes: int) -> ir.Node:
    """A new node that stands for a part of `node`."""
    label = node.name or str(node.outputs[0].name)
    listed = [ir.AttrInt64(name, value) for name, value in attributes.items()]
    version = node.version if node.domain in STANDARD else None
    new = ir.Node("", op, inputs, listed, name=f"{label}_{part}", version=version)
    new.outputs[0].name = f"{label}_{part}_result"
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
    first = made("DequantizeLinear", [a, a_scale, a_zero], node, "input")
    second = made("DequantizeLinear", [b, b_scale, b_zero], node, "weight")
    product = made("MatMul", [first.outputs[0], second.outputs[0]], node, "product")
    result = made("QuantizeLinear", [product.outputs[0], y_scale, y_zero], node, "output")
    replace(graph, node, [first, second, product, result])


def expand_between(graph: ir.Graph, node: ir.Node, op: str, parts: Any, result: Any) -> None:
    """`op` of dequantised parts (value, scale, zero point), quantised by `result`."""
    first = [made("DequantizeLinear", part, node, f"input_{i}") for i, part in enumerate(parts)]
    inner = made(op, [new.outputs[0] for new in first], node, op.lower())
    for attribute in node.attributes.values():
        inner.attributes[attribute.name] = attribute
    last = made("QuantizeLinear", [inner.outputs[0], *result], node, "output")
    replace(graph, node, [*first, inner, last])


def undoes(first: ir.Node, second: ir.Node) -> bool:
    """Whether `second` undoes `first`, with constants of the file, on what varies."""
    if first.op_type != "QuantizeLinear" or first.inputs[0] is None:
        return False
    if constant_of(first.inputs[0]) is not None:
        return False
    ours, theirs = list(first.inputs[1:]), list(second.inputs[1:])
    return len(ours) == len(theirs) and all(map(alike, ours, theirs))


def alike(a: ir.Value | None, b: ir.Value | None) -> bool:
    if a is None or b is None:
        return a is b
    x, y = constant_of(a), constant_of(b)
    if x is None or y is None or x.dtype != y.dtype or x.shape != y.shape:
        return False
    return bool((x.numpy() == y.numpy()).all())


def join(graph: ir.Graph, first: ir.Node, second: ir.Node) -> None:
    zero = first.inputs[2] if len(first.inputs) > 2 else None
    held = None if zero is None else constant_of(zero)
    code = UINT8 if held is None else int(held.dtype)
    pair = made(PAIR, list(first.inputs), first, "pair", zero_point_type=code)
    for name in ("axis", "block_size"):
        if name in first.attributes:
            pair.attributes[name] = first.attributes[name]
    replace(graph, second, [pair])
