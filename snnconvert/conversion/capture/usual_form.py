"""Operations that exports leave in a form of their own, as the ones of the rule table."""

from __future__ import annotations

from dataclasses import replace

from snnconvert.conversion.graph.nodes import BatchNorm
from snnconvert.conversion.graph.program import Node

TRANSPOSED = {1: "aten.conv_transpose1d.default", 2: "aten.conv_transpose2d.input",
              3: "aten.conv_transpose3d.input"}  # fmt: skip
RRELU = (None, 1 / 8, 1 / 3, False)  # its arguments where an export leaves them out


EVALUATED_NORM = "aten._native_batch_norm_legit_no_training.default"


def usual(node: Node) -> Node:
    """`node`, or the operation of the table that it is.

    `run_decompositions` leaves general convolutions and batch norms with three results; RReLU has
    one slope once it is evaluated.
    """
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
