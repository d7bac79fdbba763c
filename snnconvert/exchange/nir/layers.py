"""Layers of a converted network as nodes of NIR: neurons, weights, pools, changes of shape.

Thresholds go into the weights before a neuron, so that it fires at 1, and what its spikes are worth
into the weights after it.
"""

from __future__ import annotations

from collections.abc import Callable
from math import prod
from typing import Any

import numpy as np
import torch
from torch import Tensor

from snnconvert.conversion.graph.nodes import Neuron
from snnconvert.conversion.graph.program import Node
from snnconvert.conversion.rules import argument_at
from snnconvert.exchange.nir.context import Layers, Refused, label_of
from snnconvert.exchange.nir.shapes import dense, each, pads_of, per_input, pooled_size, squared
from snnconvert.exchange.nir.wiring import Current


def neurons(c: Layers, node: Node) -> Current:
    """IF or LIF of threshold 1; v' = v * (1 - 1 / tau) + input in steps of dt = 1."""
    cell, current = c.cell(node), c.current(Neuron.of(node).input)
    theta, bias = c.threshold(node), getattr(cell, "bias", None)
    if bias is not None and node.name not in c.biased:
        current = current.plus(c.of_neuron(node, bias))
    sources = c.wiring.scaled(current, theta, label_of(node))
    nir, one = c.wiring.nir, np.ones(current.shape, np.float32)
    if c.snn.config.leak is not None:
        tau = one * c.snn.config.leak
        made = nir.LIF(tau, tau, one * 0, one, one * 0, metadata=c.facts)
    else:
        made = nir.IF(one, one, one * 0, metadata=c.facts)
    name = c.wiring.add(label_of(node), made, sources)
    return Current({name: c.of_neuron(node, getattr(cell, "gain", cell.v_threshold)).reshape(-1)},
                   current.shape)  # fmt: skip


def convolution(c: Layers, node: Node) -> Current:
    weight, current = c.fixed(node.args[1], "a weight"), c.current(node.args[0])
    places, groups = weight.ndim - 2, argument_at(node, 6) or 1
    stride, dilation = (each(argument_at(node, i), 1, places) for i in (3, 5))
    padding = pads_of(argument_at(node, 4), weight, dilation)
    sources, worth = c.wiring.gathered(current, label_of(node))
    weight = dense(weight * per_input(worth, weight, groups), groups)
    fitted = squared(weight, padding, dilation)
    if fitted is None:
        raise Refused(f"a kernel of {list(weight.shape[2:])} with such padding")
    weight, padding = fitted

    def make(weight: Tensor, bias: Tensor) -> Any:
        return c.wiring.convolution(weight, bias, current.shape[1:], stride, padding, dilation)

    return c.weighted(node, weight, make, sources)


def linear(c: Layers, node: Node) -> Current:
    weight, current = c.fixed(node.args[1], "a weight"), c.current(node.args[0])
    if len(current.shape) != 1:
        raise Refused(f"a linear layer over several places (values of {list(current.shape)})")
    sources, worth = c.wiring.gathered(current, label_of(node))
    return c.weighted(node, weight * worth.view(1, -1), c.wiring.affine, sources)


def pooling(c: Layers, node: Node) -> Current:
    current = c.current(node.args[0])
    places = len(current.shape) - 1
    kernel = each(node.args[1], 1, places)
    stride = each(argument_at(node, 2) or kernel, 1, places)
    padding = each(argument_at(node, 3), 0, places)
    ceil, counted, divisor = (argument_at(node, i) for i in (4, 5, 6))
    floor = pooled_size(current.shape[1:], kernel, stride, padding)
    if (ceil and c.shapes[node.name][1:] != floor) or divisor is not None or (
        counted is False and any(padding)
    ):  # fmt: skip
        raise Refused("average pooling with ceil_mode, a divisor or uncounted padding")
    return pooled(c, node, kernel, stride, padding)


def pooled(
    c: Layers, node: Node, kernel: tuple[int, ...], stride: tuple[int, ...],
    padding: tuple[int, ...],
) -> Current:  # fmt: skip
    """Average pooling; along one axis, which NIR has none for, as a convolution."""
    current = c.current(node.args[0])
    sources, worth = c.wiring.gathered(current, label_of(node))
    shape = (current.shape[0], *pooled_size(current.shape[1:], kernel, stride, padding))
    if len(kernel) == 2:
        made = c.wiring.nir.AvgPool2d(*map(np.array, (kernel, stride, padding)))
    else:
        weight = torch.eye(shape[0])[:, :, None].expand(-1, -1, *kernel) / prod(kernel)
        bias, size = torch.zeros(shape[0]), current.shape[1:]
        made = c.wiring.convolution(weight, bias, size, stride, padding, (1,))
    return Current({c.wiring.add(label_of(node), made, sources): worth}, shape)


def over_all(c: Layers, node: Node) -> Current:
    """The mean over all places, and pooling to fewer places that divides them evenly."""
    size, wanted = c.current(node.args[0]).shape, c.shapes[node.name]
    if node.op == "aten.mean.dim":
        axes = sorted(axis % (len(size) + 1) for axis in node.args[1])
        if axes != list(range(2, len(size) + 1)) or len(size) not in (2, 3):
            raise Refused("a mean over other axes than all places")
        into: tuple[int, ...] = (1,) * (len(size) - 1)
    else:
        into = wanted[1:]
        if any(n % m for n, m in zip(size[1:], into, strict=True)):
            raise Refused("adaptive pooling into places that are not equally large")
    kernel = tuple(n // m for n, m in zip(size[1:], into, strict=True))
    found = pooled(c, node, kernel, kernel, (0,) * len(kernel))
    return found if found.shape == wanted else flattened(c, node, found)


def flat(c: Layers, node: Node) -> Current:
    current, wanted = c.current(node.args[0]), c.shapes[node.name]
    if current.shape == wanted:
        return current
    if len(wanted) != 1:
        raise Refused(f"a change of shape from {list(current.shape)} to {list(wanted)}")
    return flattened(c, node, current)


def flattened(c: Layers, node: Node, current: Current) -> Current:
    sources, worth = c.wiring.gathered(current, label_of(node))
    made = c.wiring.nir.Flatten({"input": np.array(current.shape)}, 0, -1)
    name = c.wiring.add(label_of(node), made, sources)
    each_channel = prod(current.shape[1:])
    worth = worth.repeat_interleave(each_channel) if worth.numel() > 1 else worth
    return Current({name: worth}, (prod(current.shape),))


Builder = Callable[[Layers, Node], Current]
FLAT = ("flatten.using_ints", "view.default", "reshape.default", "_unsafe_view.default",
        "squeeze.dim", "squeeze.dims", "squeeze.default")  # fmt: skip
LAYERS: dict[str, Builder] = {
    **{f"aten.conv{n}d.{kind}": convolution for n in (1, 2) for kind in ("default", "padding")},
    "aten.linear.default": linear,
    "aten.avg_pool1d.default": pooling, "aten.avg_pool2d.default": pooling,
    "aten.adaptive_avg_pool1d.default": over_all, "aten.adaptive_avg_pool2d.default": over_all,
    "aten.mean.dim": over_all,
    **{f"aten.{name}": flat for name in FLAT},
}  # fmt: skip
