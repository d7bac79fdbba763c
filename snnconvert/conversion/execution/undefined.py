"""Neurons whose current may be undefined while spikes are still on their way.

A root, a logarithm or a quotient is defined on what its network ends with, and need not be on what
has arrived in between: 0 / 0 before the first spike, the arc cosine of 1.5 before one is taken
back. A neuron waits there; it must not keep what came of it.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence

from snnconvert.conversion.graph.nodes import Neuron
from snnconvert.conversion.graph.program import Node
from snnconvert.conversion.rules import rule_of

# accumulated operations that are defined on all finite numbers
DEFINED = {
    "native_group_norm", "group_norm", "native_layer_norm", "layer_norm", "batch_norm",
    "instance_norm", "rms_norm", "max_pool1d", "max_pool2d", "max_pool3d", "adaptive_max_pool2d",
    "max_pool2d_with_indices", "softmax", "_softmax", "log_softmax", "_log_softmax", "silu", "gelu",
    "sigmoid", "tanh", "mish", "hardswish", "hardsigmoid", "softplus", "log_sigmoid", "elu", "celu",
    "selu", "leaky_relu", "prelu", "softsign", "softshrink", "hardshrink", "threshold", "abs",
    "maximum", "minimum", "amax", "amin", "max", "min", "sin", "cos", "erf", "square", "mul", "glu",
    "matmul", "bmm", "baddbmm", "scaled_dot_product_attention", "where", "clamp", "clamp_min",
    "clamp_max", "hardtanh", "relu", "relu6",
}  # fmt: skip


def undefined_on_the_way(dynamic: Sequence[tuple[Node, object, Collection[str]]]) -> frozenset[str]:
    """Names of the neurons that read what may be undefined in a step before the last.

    Args:
        dynamic: the operations downstream of neurons, in order, with what they read.
    """
    moving: set[str] = set()
    doubtful: set[str] = set()  # values that may be undefined
    for node, _, reads in dynamic:
        if not doubtful.isdisjoint(reads) or not is_defined(node, moving):
            doubtful.add(node.name)
        moving.add(node.name)
    return frozenset(node.name for node, _, _ in dynamic if Neuron.found(node)) & doubtful


def is_defined(node: Node, moving: Collection[str]) -> bool:
    """Whether `node` gives numbers wherever it reads numbers, those of `moving` changing."""
    rule = rule_of(node.op)
    if Neuron.found(node) or rule is None:
        return Neuron.found(node)
    if rule.kind == "divided":
        return not any(name in moving for name in node.refs if name != node.refs[0])
    return rule.kind != "accumulated" or node.op.split(".")[1] in DEFINED
