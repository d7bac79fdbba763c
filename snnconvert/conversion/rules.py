"""One table: what each ATen operation does to spikes.

    linear       commutes with the mean over time; passes through
    bilinear     linear while at most one operand depends on spikes, else accumulated
    divided      linear in its first operand while the second depends on no spike, else accumulated
    accumulated  must see the accumulated input (norms, softmax, max pool, other functions)
    fires        is replaced by neurons
    static       allowed only where nothing depends on spikes

An operation without an entry is refused by name; nothing is approximated silently.
"""

from __future__ import annotations

import operator
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from math import prod
from typing import Any

import torch

from snnconvert.registry import Registry

QUANTIZED_CLIP = "snnconvert.quantized_clip.default"
NEURON = "neuron"


@dataclass(frozen=True)
class Rule:
    """What an operation does to spikes, and what it costs.

    Attributes:
        kind: one of the kinds above.
        macs: multiply-accumulates from (shapes of the tensor arguments, output shape), or None.
        moves: True where the op only moves, repeats or joins values, so that spikes stay spikes.
    """

    kind: str
    macs: Callable[[Sequence[Sequence[int]], Sequence[int]], int] | None = None
    moves: bool = False


def macs_of_weights(shapes: Sequence[Sequence[int]], output: Sequence[int]) -> int:
    """Convolution and linear: every output value sums one row of the weight, padding included."""
    return prod(output) * prod(shapes[1][1:])


def macs_of_matmul(shapes: Sequence[Sequence[int]], output: Sequence[int]) -> int:
    """Matrix product: every output value sums over the inner dimension."""
    return prod(output) * shapes[0][-1]


def macs_of_transposed(shapes: Sequence[Sequence[int]], output: Sequence[int]) -> int:
    """Transposed convolution: every input value is spread by one row of the weight."""
    return prod(shapes[0]) * prod(shapes[1][1:])


RULES: Registry[Rule] = Registry("conversion rule")


def _add(rule: Rule, names: str) -> None:
    for name in names.split():
        namespace = "" if name.startswith("snnconvert.") else "aten."
        RULES.register(namespace + name)(rule)


_add(
    Rule("bilinear", macs_of_weights),
    """
    conv1d.default conv2d.default conv2d.padding conv3d.default linear.default""",
)
_add(
    Rule("bilinear", macs_of_transposed),
    """
    conv_transpose1d.default conv_transpose2d.input conv_transpose3d.input""",
)
_add(Rule("bilinear", macs_of_matmul), "matmul.default bmm.default mm.default")
_add(Rule("bilinear"), "mul.Tensor mul.Scalar")
_add(Rule("divided"), "div.Tensor div.Scalar")
_add(
    Rule("linear"),
    """
    add.Tensor add.Scalar sub.Tensor sub.Scalar rsub.Scalar neg.default batch_norm.default
    avg_pool1d.default avg_pool2d.default avg_pool3d.default adaptive_avg_pool1d.default
    adaptive_avg_pool2d.default mean.dim mean.default sum.dim_IntList
    upsample_bilinear2d.vec upsample_bicubic2d.vec""",
)
_add(
    Rule("linear", moves=True),
    """
    cat.default stack.default slice.Tensor select.int unsqueeze.default squeeze.dim
    flatten.using_ints unflatten.int view.default reshape.default permute.default transpose.int
    chunk.default split.Tensor split_with_sizes.default expand.default contiguous.default
    clone.default pixel_shuffle.default pixel_unshuffle.default upsample_nearest1d.vec
    upsample_nearest2d.vec upsample_nearest3d.vec to.dtype dropout.default getitem""",
)
_add(
    Rule("accumulated"),
    """
    group_norm.default layer_norm.default instance_norm.default rms_norm.default softmax.int
    sin.default cos.default exp.default log.default sqrt.default rsqrt.default tanh.default
    sigmoid.default silu.default gelu.default pow.Tensor_Scalar
    max_pool1d.default max_pool2d.default max_pool3d.default""",
)
_add(Rule("fires"), QUANTIZED_CLIP)
_add(Rule("static"), "snnconvert.quantized_weight.default embedding.default arange.default")


def function_of(op: str) -> Callable[..., Any]:
    """The function behind an operation of the table; UnknownOp errors come from `RULES`.

    Only names in the table are ever looked up, so a file cannot name an operation of its choice.
    """
    RULES[op]
    if op == "aten.getitem":
        return operator.getitem
    namespace, name, overload = op.split(".")
    return getattr(getattr(getattr(torch.ops, namespace), name), overload)
