"""Operations that exports leave in a form of their own, as the ones of the rule table."""

from __future__ import annotations

from dataclasses import replace

from snnconvert.conversion.graph.nodes import BatchNorm
from snnconvert.conversion.graph.program import Node, Program, Ref

TRANSPOSED = {1: "aten.conv_transpose1d.default", 2: "aten.conv_transpose2d.input",
              3: "aten.conv_transpose3d.input"}  # fmt: skip
RRELU = (None, 1 / 8, 1 / 3, False)  # its arguments where an export leaves them out

BITS = {
    **{f"aten.__{name}__.{of}": f"aten.bitwise_{name}.{of}"
       for name in ("and", "or", "xor") for of in ("Tensor", "Scalar")},
    **{f"aten.__{name[0]}shift__.{of}": f"aten.bitwise_{name}_shift.{full}"
       for name in ("left", "right")
       for of, full in (("Tensor", "Tensor"), ("Scalar", "Tensor_Scalar"))},
}  # fmt: skip
READ_OUT = ("aten.item.default", "aten._local_scalar_dense.default")
SELECT = "aten.select.int"
EVALUATED_NORM = "aten._native_batch_norm_legit_no_training.default"


def usual(node: Node) -> Node:
    """`node`, or the operation of the table that it is.

    `run_decompositions` leaves general convolutions and batch norms with three results; RReLU has
    one slope once it is evaluated.
    """
    if node.op in BITS:
        return replace(node, op=BITS[node.op])
    if node.op == EVALUATED_NORM:
        x, weight, bias, mean, variance, momentum, eps = node.args
        norm = BatchNorm(x, weight, bias, mean, variance, False, momentum, eps)
        return norm.node(node.name, node.layer)
    if node.op == "aten.rrelu.default":
        x, lower, upper, training = [*node.args, *RRELU[len(node.args) :]][:4]
        if not training:
            return replace(node, op="aten.leaky_relu.default", args=(x, (lower + upper) / 2))
    if node.op == "aten.copy.default":  # into a tensor of which nothing is left
        like, source = node.args[:2]
        return replace(node, op="aten.expand_as.default", args=(source, like))
    if node.op != "aten.convolution.default":
        return node
    x, weight, bias, stride, padding, dilation, transposed, added, groups = node.args
    if transposed:
        rest = [stride, padding, added, groups, dilation]
        return replace(node, op=TRANSPOSED[len(stride)], args=(x, weight, bias, *rest))
    rest = [stride, padding, dilation, groups]
    return replace(node, op=f"aten.conv{len(stride)}d.default", args=(x, weight, bias, *rest))


def picked(program: Program) -> Program:
    """`program` with `table[t]` for one number t, which exports read out as a number of Python, as
    the choice of a row by a tensor.
    """
    read_out = {n.name: n.args[0] for n in program.nodes if n.op in READ_OUT}
    readers = program.readers()
    rows = {
        name: t for name, t in read_out.items()
        if name in readers and name not in program.output_names
        and all(n.op == SELECT and n.args[2] == Ref(name) for n in readers[name])
    }  # fmt: skip
    nodes = []
    for node in program.nodes:
        if node.name in rows:
            continue
        if node.op == SELECT and isinstance(node.args[2], Ref) and node.args[2].name in rows:
            nodes += _row(node, rows[node.args[2].name])
        else:
            nodes.append(node)
    return replace(program, nodes=tuple(nodes))


def _row(node: Node, t: Ref) -> list[Node]:
    """`node`, which selects by a number, as operations that select by the tensor `t` []."""
    table, axis = node.args[:2]
    index, row = f"{node.name}_index", f"{node.name}_row"
    return [
        Node(index, "aten.view.default", (t, [1]), {}, node.layer),
        Node(row, "aten.index_select.default", (table, axis, Ref(index)), {}, node.layer),
        Node(node.name, "aten.squeeze.dim", (Ref(row), axis), {}, node.layer),
    ]
