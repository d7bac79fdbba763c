"""A graph of one pass over counts, rewritten so that it goes over memory less often.

Every elementwise operation reads and writes a whole activation. Behind a norm, its weights and the
neurons' scale become one multiplication and one addition; and weights that read counts take up what
one count stands for. Both change the last digit at most, as do the norm and the sums over weights,
which every runtime adds up in its own order. Nothing else is merged: what adds up exactly still
does.
"""

from __future__ import annotations

import numpy as np
import onnx_ir as ir

NORMS = ("InstanceNormalization", "GroupNormalization", "LayerNormalization", "RMSNormalization")
VIEWS = ("Reshape", "Flatten", "Transpose", "Squeeze", "Unsqueeze")


def go_over_memory_less_(graph: ir.Graph) -> None:
    """Merge the constants behind norms, and take the size of a count into the weights after it."""
    for node in list(graph):
        merge_affine_(graph, node)
    for node in list(graph):
        take_up_unit_(graph, node)
    for name, value in list(graph.initializers.items()):
        if not value.uses() and not value.is_graph_output():
            del graph.initializers[name]


def constant(value: ir.Value | None) -> np.ndarray | None:
    """The numbers of an initializer."""
    if value is None or value.const_value is None:
        return None
    return value.const_value.numpy()


def by_constant(value: ir.Value, op: str) -> tuple[ir.Node, ir.Value, int, np.ndarray] | None:
    """Where `value` is `x op c` of a constant c: the node, x, the place of c among inputs, c."""
    node = value.producer()
    if node is None or node.op_type != op:
        return None
    for place in (1, 0):
        x, number = node.inputs[1 - place], constant(node.inputs[place])
        if x is not None and number is not None and constant(x) is None:
            return node, x, place, number
    return None


def behind_norm(value: ir.Value) -> bool:
    """Whether it comes from a norm, views aside."""
    node = value.producer()
    while node is not None and node.op_type in VIEWS and node.inputs[0] is not None:
        node = node.inputs[0].producer()
    return node is not None and node.op_type in NORMS


def merge_affine_(graph: ir.Graph, last: ir.Node) -> None:
    """(x * a + b) * c + d behind a norm becomes x * (a * c) + (b * c + d); `last` adds d."""
    if last.op_type != "Add" or last.outputs[0].is_graph_output():
        return
    value, found = last.outputs[0], list[tuple[ir.Node, ir.Value, int, np.ndarray]]()
    for op in ("Add", "Mul", "Add", "Mul"):
        step = by_constant(value, op)
        read_once = len(value.uses()) == 1 and not value.is_graph_output()
        if step is None or (found and not read_once):
            return
        found.append(step)
        value = step[1]
    if not behind_norm(value):
        return
    d, c, b, a = (number.astype(np.float64) for *_, number in found)
    _, (scaling, *_), (adding, _, shift, number), (multiplying, _, scale, _) = found
    for node, place, merged in ((multiplying, scale, a * c), (adding, shift, b * c + d)):
        node.replace_input_with(place, held(graph, node.outputs[0], merged.astype(number.dtype)))
    ir.convenience.replace_all_uses_with(last.outputs[0], adding.outputs[0])
    graph.remove([last, scaling], safe=True)


def take_up_unit_(graph: ir.Graph, node: ir.Node) -> None:
    """`node`, counts times what one stands for, is left out where nothing but weights reads it."""
    found = by_constant(node.outputs[0], "Mul") if node.op_type == "Mul" else None
    if found is None or node.outputs[0].is_graph_output():
        return
    _, counts, _, unit = found
    producer, uses = counts.producer(), list(node.outputs[0].uses())
    if producer is None or producer.op_type != "Clip":
        return
    readers = {use.node for use in uses}
    weights = [use.node.inputs[1] for use in uses if len(use.node.inputs) > 1]
    if any({use.node for use in w.uses()} - readers for w in weights if w is not None):
        return  # what something else reads as well would be in the file twice
    scaled = [scaled_weight(use.node, use.idx, unit) for use in uses]
    taken = [weight for weight in scaled if weight is not None]
    if len(taken) < len(uses):
        return
    for use, weight in zip(uses, taken, strict=True):
        use.node.replace_input_with(0, counts)
        use.node.replace_input_with(1, held(graph, use.node.outputs[0], weight))
    graph.remove(node, safe=True)


def scaled_weight(reader: ir.Node, place: int, unit: np.ndarray) -> np.ndarray | None:
    """The weight of `reader`, which reads `unit` times counts at `place`, for counts alone."""
    weight = constant(reader.inputs[1]) if place == 0 and len(reader.inputs) > 1 else None
    axis = None if weight is None else input_axis(reader, weight)
    if weight is None or axis is None:
        return None
    behind = weight.ndim - 2 if reader.op_type == "Conv" else 0  # axes of x after its channels
    groups = number_of(reader, "group", 1) if reader.op_type == "Conv" else 1
    along = unit.shape[-1 - behind] if unit.ndim > behind else 1
    if unit.size not in (1, along) or along not in (1, weight.shape[axis] * groups):
        return None
    each = np.broadcast_to(unit.reshape(1, -1), (1, weight.shape[axis] * groups))
    shape = [n if i == axis else 1 for i, n in enumerate(weight.shape)]
    if groups > 1:
        each = each.reshape(groups, -1).repeat(len(weight) // groups, axis=0)
        shape[0] = len(weight)
    scaled: np.ndarray = (weight.astype(np.float64) * each.reshape(shape)).astype(weight.dtype)
    return scaled


def input_axis(reader: ir.Node, weight: np.ndarray) -> int | None:
    """Along which axis of its weight the channels lie that it reads; None: it is no weight."""
    if weight.ndim < 2:
        return None
    if reader.op_type == "Conv":
        return 1
    if reader.op_type == "Gemm" and not number_of(reader, "transA", 0):
        return 1 if number_of(reader, "transB", 0) else 0
    return weight.ndim - 2 if reader.op_type == "MatMul" else None


def number_of(node: ir.Node, name: str, default: int) -> int:
    """A whole number among the attributes."""
    return node.attributes.get_int(name, default)


def held(graph: ir.Graph, reader: ir.Value, number: np.ndarray) -> ir.Value:
    """A new constant of the graph, named after the value that is made of it."""
    name = f"{reader.name}.constant"
    while name in graph.initializers:
        name += "_"
    tensor = ir.tensor(np.ascontiguousarray(number), name=name)
    value = ir.Value(name=name, shape=ir.Shape(number.shape), type=ir.TensorType(tensor.dtype),
                     const_value=tensor)  # fmt: skip
    graph.register_initializer(value)
    return value
