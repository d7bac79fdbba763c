"""Joins operations that exporters take apart, so that a conversion finds their weights and biases.

A matrix product and the bias behind it; a group norm written as an instance norm of groups.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import onnx_ir as ir

from snnconvert.conversion.capture.onnx.quantisers import constant_of, made, replace

LINEAR = "Linear"  # what the reader makes of a product and its bias


def fuse(graph: ir.Graph) -> None:
    """Rewrite the main graph of a model in place."""
    for node in list(graph):
        if node.graph is graph and node.op_type == "Add":
            _linear(graph, node)
    for node in list(graph):
        if node.graph is graph and node.op_type == "InstanceNormalization":
            _group_norm(graph, node)


def array(value: ir.Value | None) -> Any:
    """What a constant of the file holds, None for anything else."""
    tensor = None if value is None else constant_of(value)
    return None if tensor is None else tensor.numpy()


def only_reader(value: ir.Value, graph: ir.Graph) -> ir.Node | None:
    """The one node that reads `value`, if there is one, and it is no output."""
    uses = list(value.uses())
    if len(uses) != 1 or value.is_graph_output() or uses[0].node.graph is not graph:
        return None
    return uses[0].node


def split(node: ir.Node) -> list[tuple[ir.Value, tuple[Any, Any]]]:
    """What varies in Add or Mul, and the other input: what it holds, and itself; [] for none."""
    if len(node.inputs) != 2:
        return []
    a, b = node.inputs
    return [
        (x, (array(y), y))
        for x, y in ((a, b), (b, a))
        if x is not None and array(y) is not None and array(x) is None
    ]


def _linear(graph: ir.Graph, node: ir.Node) -> None:
    """MatMul by a constant matrix, then Add of a constant vector."""
    for x, (bias, value) in split(node):
        product = x.producer()
        if product is None or product.op_type != "MatMul" or only_reader(x, graph) is not node:
            continue
        weight = array(product.inputs[1])
        fits = weight is not None and weight.ndim == 2 and array(product.inputs[0]) is None
        if fits and bias.ndim == 1 and bias.shape[0] == weight.shape[1]:
            new = made(LINEAR, [*product.inputs, value], product, "linear")
            new.name = product.name or new.name
            replace(graph, node, [new])


def _group_norm(graph: ir.Graph, node: ir.Node) -> None:
    """Reshape to groups, InstanceNormalization by 1 and 0, Reshape back, Mul, Add."""
    first = node.inputs[0].producer() if node.inputs[0] is not None else None
    last = only_reader(node.outputs[0], graph)
    scale, shift = array(node.inputs[1]), array(node.inputs[2])
    if first is None or last is None or first.op_type != "Reshape" or last.op_type != "Reshape":
        return
    if scale is None or shift is None or (scale != 1).any() or (shift != 0).any():
        return
    wanted, groups = array(first.inputs[1]), len(scale)
    if wanted is None or len(wanted) != 3 or wanted[1] != groups or wanted[0] != 0:
        return
    multiply = only_reader(last.outputs[0], graph)
    add = None if multiply is None else only_reader(multiply.outputs[0], graph)
    if multiply is None or add is None or (multiply.op_type, add.op_type) != ("Mul", "Add"):
        return
    weights = [constant for n in (multiply, add) for _, constant in split(n)]
    if len(weights) != 2 or any(w.shape != weights[0][0].shape for w, _ in weights):
        return
    if any(size != 1 for size in weights[0][0].shape[-2:]):  # [C, 1, 1], [1, C, 1, 1]
        return
    if weights[0][0].size != max(weights[0][0].shape) or weights[0][0].ndim < 3:
        return
    flat = [_vector(graph, node, w, part) for (w, _), part in zip(weights, "wb", strict=True)]
    new = made("GroupNormalization", [first.inputs[0], *flat], node, "group", num_groups=groups)
    new.attributes["epsilon"] = ir.AttrFloat32(
        "epsilon", node.attributes.get_float("epsilon", 1e-5)
    )
    new.version, new.name = 21, node.name or new.name
    replace(graph, add, [new])


def _vector(graph: ir.Graph, node: ir.Node, values: np.ndarray, part: str) -> ir.Value:
    """A constant of one number a channel, as an initializer of its own."""
    name = f"{node.name or node.outputs[0].name}_{part}"
    value = ir.Value(name=name, const_value=ir.tensor(values.reshape(-1).copy(), name=name))
    graph.register_initializer(value)
    return value
