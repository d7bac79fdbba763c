"""Activations that integrate-and-fire neurons are: clips at zero, and quantisers."""

from __future__ import annotations

import math
from dataclasses import replace
from typing import Any

import torch
from torch import Tensor

from snnconvert.conversion.graph.nodes import QUANTIZED_CLIP
from snnconvert.conversion.graph.program import Node, Ref
from snnconvert.conversion.rules.registry import add
from snnconvert.conversion.rules.rule import Activation, Constants, Rule
from snnconvert.errors import UnsupportedOpError
from snnconvert.operators.clip import as_ceiling

FAKE_QUANTIZE = (
    "fake_quantize_per_tensor_affine.default", "fake_quantize_per_tensor_affine.tensor_qparams",
    "fake_quantize_per_channel_affine.default",
)  # fmt: skip


def argument(node: Node, position: int, name: str, default: Any = None) -> Any:
    """An argument by position or name."""
    if len(node.args) > position:
        return node.args[position]
    return node.kwargs.get(name, default)


def relu(_node: Node, _constants: Constants) -> Activation:
    return Activation(replaces=True, signed=False, always=True)


def clip(low: float, high: float) -> Activation | None:
    """A clip to [low, high]: a neuron where low is 0 or -high, else a function before one.

    With a finite `high` no calibrated ceiling exceeds it, since no value does.
    """
    if low == 0:
        bound = None if math.isinf(high) else float(high)
        return Activation(replaces=True, signed=False, bound=bound)
    if math.isinf(low) or math.isinf(high):  # a guard such as x.clamp(min=1e-6)
        return None
    bound = float(max(-low, high))
    return Activation(replaces=low == -high, signed=low < 0, bound=bound)


def relu6(_node: Node, _constants: Constants) -> Activation | None:
    return clip(0, 6)


def hardtanh(node: Node, _constants: Constants) -> Activation | None:
    return clip(argument(node, 1, "min_val", -1), argument(node, 2, "max_val", 1))


def clamp(node: Node, _constants: Constants) -> Activation | None:
    low, high = argument(node, 1, "min"), argument(node, 2, "max")
    if isinstance(low, Ref) or isinstance(high, Ref):
        return None
    return clip(-math.inf if low is None else low, math.inf if high is None else high)


def clamp_min(node: Node, _constants: Constants) -> Activation | None:
    return clip(argument(node, 1, "min", 0), math.inf)


def trained_clip(node: Node, constants: Constants) -> Activation | None:
    """A clip between tensors: a neuron where they are 0 and a parameter, which is its threshold."""
    low, high = argument(node, 1, "min"), argument(node, 2, "max")
    if not (isinstance(low, Ref) and isinstance(high, Ref)) or high.name not in constants:
        return None
    if low.name not in constants or bool((constants[low.name] != 0).any()):
        return None
    return Activation(replaces=True, signed=False, ceiling=as_ceiling(constants[high.name]))


def value_of(argument: Any, constants: Constants, layer: str) -> Tensor:
    """A number or a constant tensor as a tensor."""
    if isinstance(argument, Ref):
        if argument.name not in constants:
            raise UnsupportedOpError(f"{layer}: its quantisation scale is computed, not fixed")
        return constants[argument.name].float()
    return torch.tensor(float(argument), dtype=torch.float32)


def fake_quantize(node: Node, constants: Constants) -> Activation | None:
    """PyTorch's quantisers: the largest value that they let through is the threshold."""
    scale = value_of(node.args[1], constants, node.layer)
    zero = value_of(node.args[2], constants, node.layer)
    shift = 1 if "per_channel" in node.op else 0  # the axis comes before the range
    if shift and node.args[3] != 1:
        return None
    below, above = zero - node.args[3 + shift], node.args[4 + shift] - zero  # steps down and up
    ceiling = torch.maximum(above, below) * scale
    unsigned, symmetric = bool((below == 0).all()), bool((below == above).all())
    return Activation(unsigned or symmetric, not unsigned, ceiling)


def of_no_negative(node: Node, constants: Constants) -> Node:
    """PyTorch's quantiser of values of which none is below 0, without its steps down."""
    if isinstance(node.args[2], Ref) and node.args[2].name not in constants:
        return node
    zero = value_of(node.args[2], constants, node.layer).flatten()
    at = 4 if "per_channel" in node.op else 3
    low, high = node.args[at : at + 2]
    if not low < zero[0] < high or bool((zero != zero[0].round()).any()):
        return node
    return replace(node, args=(*node.args[:at], int(zero[0]), *node.args[at + 1 :]))


add(Rule("fires"), QUANTIZED_CLIP)
add(Rule("fires", activation=relu), "relu.default")
add(Rule("fires", activation=relu6), "relu6.default")
add(Rule("fires", activation=hardtanh), "hardtanh.default")
add(Rule("fires", activation=clamp), "clamp.default")
add(Rule("accumulated", activation=trained_clip), "clamp.Tensor")
add(Rule("fires", activation=clamp_min), "clamp_min.default")
add(Rule("fires", activation=fake_quantize), " ".join(FAKE_QUANTIZE))
