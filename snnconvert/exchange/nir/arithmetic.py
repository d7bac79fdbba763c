"""Sums, factors, batch norms, joined and padded channels: what changes currents, not spikes."""

from __future__ import annotations

import torch
from torch import Tensor

from snnconvert.conversion.graph.nodes import BatchNorm
from snnconvert.conversion.graph.program import Node
from snnconvert.conversion.rules import argument_at
from snnconvert.exchange.nir.context import Layers, Refused, label_of
from snnconvert.exchange.nir.layers import Builder
from snnconvert.exchange.nir.wiring import Current


def total(c: Layers, node: Node) -> Current:
    """Sums and differences, of two currents or of one and a constant."""
    sign = -1.0 if node.op.startswith("aten.sub") else 1.0
    factors = 1.0, sign * float(node.kwargs.get("alpha", 1))
    wanted, result, added = c.shapes[node.name], None, torch.zeros(1)
    for value, factor in zip(node.args[:2], map(torch.tensor, factors), strict=True):
        known = c.constant(value)
        if known is not None:
            added = added + c.along_channels(known, wanted) * factor
            continue
        current = c.current(value).times(factor)
        if current.shape != wanted:
            raise Refused("a sum of values of different shapes")
        result = current if result is None else result.and_(current)
    if result is None:
        raise Refused("a sum that depends on nothing")
    return result.plus(added)


def scaled(c: Layers, node: Node) -> Current:
    """Multiplied or divided by what depends on nothing."""
    if node.op.startswith("aten.neg"):
        return c.current(node.args[0]).times(torch.tensor(-1.0))
    value, factor = node.args[:2]
    divided = node.op.startswith("aten.div")
    if c.constant(factor) is None and not divided:
        value, factor = factor, value
    known = c.constant(factor)
    if known is None or c.constant(value) is not None or node.kwargs:
        raise Refused("a product of two values that depend on spikes, or a division by one")
    current = c.current(value)
    if current.shape != c.shapes[node.name]:
        raise Refused("a product of values of different shapes")
    along = c.along_channels(known, current.shape)
    return current.times(1 / along if divided else along)


def normed(c: Layers, node: Node) -> Current:
    """A batch norm that folds into no convolution."""
    norm = BatchNorm.of(node)
    if norm.training or norm.mean is None:
        raise Refused("a batch norm by the statistics of its batch")
    mean, variance = (c.fixed(value, "a norm") for value in (norm.mean, norm.variance))
    weight, bias = (
        c.fixed(default if value is None else value, "a norm")
        for value, default in ((norm.weight, 1.0), (norm.bias, 0.0))
    )
    scale = weight / (variance + norm.eps).sqrt()
    return c.current(norm.input).plus(-mean).times(scale).plus(bias)


def joined(c: Layers, node: Node) -> Current:
    """Channels side by side: each value through a matrix that puts it in its place."""
    wanted = c.shapes[node.name]
    if (argument_at(node, 1) or 0) % (len(wanted) + 1) != 1:
        raise Refused("values joined along another axis than the channels")
    worth: dict[str, Tensor] = {}
    first = 0
    for value in node.args[0]:
        current = c.current(value)
        count = current.shape[0]
        matrix = torch.zeros(wanted[0], count)
        matrix[first : first + count] = torch.eye(count)
        worth |= placed(c, node, current, matrix).worth
        first += count
    return Current(worth, wanted)


def placed(
    c: Layers, node: Node, current: Current, matrix: Tensor, stride: tuple[int, ...] = (),
    padding: tuple[int, ...] = (),
) -> Current:  # fmt: skip
    """`matrix` @ the channels of a current."""
    bias, found = current.bias.expand(current.shape[0]), {}
    for name, worth in current.worth.items():
        mixed = matrix.to(worth) * worth.view(1, -1)
        made = c.wiring.mixing(mixed, matrix.to(bias) @ bias, current.shape, stride, padding)
        found[c.wiring.add(label_of(node), made, [name])] = torch.ones(1)
        bias = torch.zeros_like(bias)
    return Current(found, c.shapes[node.name])


def sliced(c: Layers, node: Node) -> Current:
    """Some channels, or every n-th place from the first."""
    current, wanted = c.current(node.args[0]), c.shapes[node.name]
    axis = (argument_at(node, 1) or 0) % (len(current.shape) + 1) - 1
    start, step = argument_at(node, 2) or 0, argument_at(node, 4) or 1
    if current.shape == wanted:
        return current
    if axis == 0:
        start = start + current.shape[0] if start < 0 else start
        rows = torch.arange(wanted[0]) * step + start
        return placed(c, node, current, torch.eye(current.shape[0])[rows])
    if axis < 0 or start or wanted[axis] != -(-current.shape[axis] // step):
        raise Refused("a part of the places")
    stride = tuple(step if i == axis else 1 for i in range(1, len(current.shape)))
    return placed(c, node, current, torch.eye(current.shape[0]), stride)


def padded(c: Layers, node: Node) -> Current:
    """Zeros around: channels on either side, places as many on both."""
    current, wanted = c.current(node.args[0]), c.shapes[node.name]
    value = argument_at(node, 3 if node.op == "aten.pad.default" else 2)
    mode = argument_at(node, 2) if node.op == "aten.pad.default" else "constant"
    pads = list(node.args[1]) + [0] * (2 * len(current.shape) - len(node.args[1]))
    sides = [(pads[2 * i], pads[2 * i + 1]) for i in reversed(range(len(current.shape)))]
    uneven = any(a != b or a < 0 for a, b in sides[1:]) or min(sides[0]) < 0
    if value or mode not in (None, "constant") or uneven or len(pads) > 2 * len(current.shape):
        raise Refused("padding that is not zeros, as many on both sides")
    matrix = torch.zeros(wanted[0], current.shape[0])
    matrix[sides[0][0] : sides[0][0] + current.shape[0]] = torch.eye(current.shape[0])
    padding = tuple(before for before, _ in sides[1:])
    if bool(current.bias.any()) and any(padding):
        raise Refused("zeros around what a constant was added to")
    return placed(c, node, current, matrix, padding=padding)


ARITHMETIC: dict[str, Builder] = {
    **{f"aten.{name}.{kind}": total for name in ("add", "sub") for kind in ("Tensor", "Scalar")},
    **{f"aten.{name}.{kind}": scaled for name in ("mul", "div") for kind in ("Tensor", "Scalar")},
    "aten.neg.default": scaled, "aten.batch_norm.default": normed, "aten.cat.default": joined,
    "aten.slice.Tensor": sliced, "aten.constant_pad_nd.default": padded,
    "aten.pad.default": padded,
}  # fmt: skip
