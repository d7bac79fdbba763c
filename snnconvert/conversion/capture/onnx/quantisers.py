"""Rewrites quantised graphs so that what is quantised is seen: float operations between quantisers.

A pair of QuantizeLinear and DequantizeLinear around a value becomes one node, in which a conversion
finds a threshold; integer operations are expanded into such pairs first.
"""

from __future__ import annotations

import onnx_ir as ir

from snnconvert.conversion.capture.onnx.expansions import constant_of, expand, made, replace
from snnconvert.conversion.capture.onnx.operations import PAIR

UINT8 = 2


def lay_open_quantisers(graph: ir.Graph) -> None:
    """Rewrite the main graph of a model in place."""
    for node in list(graph):
        expand(graph, node)
    for node in list(graph):
        if node.op_type == "DequantizeLinear" and node.inputs[0] is not None:
            first = node.inputs[0].producer()
            if first is not None and undoes(first, node):
                join(graph, first, node)


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
