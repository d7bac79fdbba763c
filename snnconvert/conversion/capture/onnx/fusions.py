"""Joins operations that exporters take apart, so that a conversion finds their weights and biases.

A matrix product or a convolution and the bias behind it; a group norm written as an instance norm
of groups; a layer norm written out.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import onnx_ir as ir

from snnconvert.conversion.capture.onnx.expansions import constant_of, made, replace

LINEAR = "Linear"  # what the reader makes of a product and its bias


def fuse(graph: ir.Graph) -> None:
    """Rewrite the main graph of a model in place."""
    for op, join in (("Add", _layer_norm), ("Add", _bias), ("InstanceNormalization", _group_norm)):
        for node in list(graph):
            if node.graph is graph and node.op_type == op and not node.domain:
                join(graph, node)


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


def _bias(graph: ir.Graph, node: ir.Node) -> None:
    """MatMul by a constant matrix, or a convolution without bias, then Add of a constant."""
    for x, (bias, _) in split(node):
        made_by = x.producer()
        if made_by is None or only_reader(x, graph) is not node or len(made_by.inputs) != 2:
            continue
        weight = array(made_by.inputs[1])
        if weight is None or array(made_by.inputs[0]) is not None:
            continue
        if made_by.op_type == "MatMul" and weight.ndim == 2:
            op, channels, behind = LINEAR, weight.shape[1], 0
        elif made_by.op_type == "Conv":
            op, channels, behind = "Conv", weight.shape[0], weight.ndim - 2
        else:
            continue
        shape = (1,) * (behind + 1 - bias.ndim) + bias.shape
        if bias.size != channels or shape[len(shape) - 1 - behind] != channels:
            continue
        new = made(op, [*made_by.inputs, _vector(graph, made_by, bias, "bias")], made_by, "biased")
        for attribute in made_by.attributes.values():
            new.attributes[attribute.name] = attribute
        new.name = made_by.name or new.name
        replace(graph, node, [new])
        return


def _layer_norm(graph: ir.Graph, node: ir.Node) -> None:
    """Centred, over the root of the mean square and a constant, times and plus constants."""
    for scaled, (_, shift) in split(node):
        times = scaled.producer()
        if times is None or times.op_type != "Mul" or only_reader(scaled, graph) is not node:
            continue
        for ratio, (_, scale) in split(times):
            found = _standardised(ratio, graph, times)
            if found is not None:
                x, epsilon = found
                new = made("LayerNormalization", [x, scale, shift], node, "norm")
                new.attributes["axis"] = ir.AttrInt64("axis", -1)
                new.attributes["epsilon"] = ir.AttrFloat32("epsilon", epsilon)
                replace(graph, node, [new])
                return


def _standardised(
    ratio: ir.Value, graph: ir.Graph, reader: ir.Node
) -> tuple[ir.Value, float] | None:
    """(x, epsilon) where `ratio` is (x - mean) / sqrt(mean((x - mean)^2) + epsilon), last axis."""
    divide = ratio.producer()
    if divide is None or divide.op_type != "Div" or only_reader(ratio, graph) is not reader:
        return None
    centred, root = (value.producer() if value is not None else None for value in divide.inputs)
    total = _behind(root, "Sqrt")
    variance = next(iter(split(total)), None) if total is not None else None
    if centred is None or centred.op_type != "Sub" or total is None or total.op_type != "Add":
        return None
    if variance is None or variance[1][0].size != 1:
        return None
    power = _behind(_mean(variance[0]), "ReduceMean")
    x, mean = centred.inputs
    inner = _mean(mean)
    if power is None or inner is None or x is None or inner.inputs[0] is not x:
        return None
    exponent = array(power.inputs[1]) if power.op_type == "Pow" else None
    if exponent is None or exponent.size != 1 or float(exponent.reshape(())) != 2:
        return None
    again = power.inputs[0].producer() if power.inputs[0] is not None else None
    if again is None or again.op_type != "Sub" or list(again.inputs) != list(centred.inputs):
        return None
    return x, float(variance[1][0].reshape(()))


def _behind(node: ir.Node | None, op: str) -> ir.Node | None:
    """The node whose result `node`, an `op`, reads first."""
    if node is None or node.op_type != op or node.inputs[0] is None:
        return None
    return node.inputs[0].producer()


def _mean(value: ir.Value | None) -> ir.Node | None:
    """The ReduceMean over the last axis, kept, that makes `value`."""
    node = value.producer() if value is not None else None
    if node is None or node.op_type != "ReduceMean" or node.attributes.get_int("keepdims", 1) != 1:
        return None
    axes = node.attributes.get_ints("axes", None)
    if axes is None and len(node.inputs) > 1:
        axes = array(node.inputs[1])
    return node if axes is not None and list(axes) == [-1] else None


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
    while name in graph.initializers:  # names of nodes need not be unique
        name += "_"
    value = ir.Value(name=name, const_value=ir.tensor(values.reshape(-1).copy(), name=name))
    graph.register_initializer(value)
    return value
