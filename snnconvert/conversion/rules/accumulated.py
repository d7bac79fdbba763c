"""Operations that do not commute with the mean: they are applied to what has accumulated."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from math import prod

from snnconvert.conversion.graph.program import Node
from snnconvert.conversion.rules.registry import add
from snnconvert.conversion.rules.rule import Activation, Constants, Rule, Shapes


def macs_of_attention(shapes: Shapes, output: Sequence[int]) -> int:
    """softmax(q k') v: every query meets every key in both products."""
    queries, keys, values = shapes[:3]
    return prod(queries[:-1]) * keys[-2] * (queries[-1] + values[-1])


def signed_function(_node: Node, _constants: Constants) -> Activation:
    """A function of the accumulated potential, then neurons that spike with both signs."""
    return Activation(replaces=False, signed=True)


def bounded_function(_node: Node, _constants: Constants) -> Activation:
    """As `signed_function`, with values inside [-1, 1]."""
    return Activation(replaces=False, signed=True, bound=1.0)


def share_function(_node: Node, _constants: Constants) -> Activation:
    """A function with values inside [0, 1], then ordinary neurons."""
    return Activation(replaces=False, signed=False, bound=1.0)


def positive_function(_node: Node, _constants: Constants) -> Activation:
    """A function whose values are never negative, then ordinary neurons."""
    return Activation(replaces=False, signed=False)


NORM = Rule("accumulated", channel_axis=1)
add(replace(NORM, weight=2, bias=3, fresh=True), "group_norm.default")
add(replace(NORM, weight=2, bias=3, fresh=True, channel_axis=-1), "layer_norm.default")
add(NORM, "instance_norm.default native_group_norm.default")
add(Rule("accumulated", passes=True, selects=True), """
    max_pool1d.default max_pool2d.default max_pool3d.default""")  # fmt: skip
add(Rule("accumulated", selects=True), """
    max_pool2d_with_indices.default
    adaptive_max_pool1d.default adaptive_max_pool2d.default adaptive_max_pool3d.default
    amax.default amin.default max.default min.default max.dim min.dim
    maximum.default minimum.default max.other min.other""")  # fmt: skip
add(Rule("accumulated", gate="halves"), "glu.default")
add(Rule("accumulated"), """
    rms_norm.default _fused_rms_norm.default native_layer_norm.default
    softmax.int log_softmax.int _softmax.default _log_softmax.default logsumexp.default
    linalg_vector_norm.default norm.ScalarOpt_dim norm.Scalar
    var.default var.dim var.correction std.default std.dim std.correction var_mean.correction
    argmax.default argmin.default clamp_min.Tensor
    clamp_max.Tensor clamp_max.default
    pow.Tensor_Scalar pow.Tensor_Tensor pow.Scalar square.default sqrt.default rsqrt.default
    reciprocal.default exp.default exp2.default expm1.default log.default log2.default
    log10.default log1p.default sin.default cos.default tan.default sinh.default cosh.default
    atan.default atan2.default asin.default acos.default asinh.default
    atanh.default abs.default erf.default erfc.default
    addcmul.default addcdiv.default lerp.Tensor lerp.Scalar where.self
    where.ScalarOther where.ScalarSelf masked_fill.Tensor prod.dim_int cosine_similarity.default
    eq.Scalar eq.Tensor ne.Scalar ne.Tensor lt.Scalar lt.Tensor le.Scalar le.Tensor gt.Scalar
    gt.Tensor ge.Scalar ge.Tensor logical_and.default logical_or.default logical_not.default
    bitwise_and.Tensor bitwise_or.Tensor bitwise_not.default isnan.default nan_to_num.default
    floor.default ceil.default round.default round.decimals trunc.default frac.default sign.default
    sgn.default heaviside.default remainder.Scalar remainder.Tensor fmod.Scalar fmod.Tensor
    floor_divide.default floor_divide.Scalar div.Tensor_mode div.Scalar_mode embedding.default
    bucketize.Tensor searchsorted.Tensor
    sort.default sort.stable topk.default median.dim kthvalue.default cumprod.default
    cummax.default cummin.default logcumsumexp.default index_reduce.default scatter_reduce.two
    logical_xor.default bitwise_xor.Tensor isfinite.default isinf.default any.dim any.default
    all.default all.dim _cdist_forward.default _trilinear.default
    acosh.default
    hardshrink.default softshrink.default""")  # fmt: skip
add(Rule("accumulated", macs_of_attention), "scaled_dot_product_attention.default")
add(Rule("accumulated", activation=signed_function), """
    silu.default gelu.default mish.default hardswish.default leaky_relu.default
    elu.default selu.default celu.default prelu.default log_sigmoid.default
    threshold.default""")  # fmt: skip
add(Rule("accumulated", activation=bounded_function), "tanh.default")
add(Rule("accumulated", activation=positive_function), "softplus.default")
add(Rule("accumulated", activation=share_function), "sigmoid.default hardsigmoid.default")
