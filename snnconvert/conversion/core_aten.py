"""Operations of PyTorch's core ATen set as the ones of the rule table."""

from __future__ import annotations

from dataclasses import replace

from snnconvert.conversion.program import Node

TRANSPOSED = {1: "aten.conv_transpose1d.default", 2: "aten.conv_transpose2d.input",
              3: "aten.conv_transpose3d.input"}  # fmt: skip


def usual(node: Node) -> Node:
    """`node`; a general convolution, as `run_decompositions` leaves it, as the one that it is."""
    if node.op != "aten.convolution.default":
        return node
    x, weight, bias, stride, padding, dilation, transposed, added, groups = node.args
    if transposed:
        rest = [stride, padding, added, groups, dilation]
        return replace(node, op=TRANSPOSED[len(stride)], args=(x, weight, bias, *rest))
    rest = [stride, padding, dilation, groups]
    return replace(node, op=f"aten.conv{len(stride)}d.default", args=(x, weight, bias, *rest))
