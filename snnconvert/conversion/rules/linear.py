"""Operations that commute with the mean over time, and those linear in one operand."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from math import prod

from snnconvert.conversion.rules.einsum import macs_of_einsum
from snnconvert.conversion.rules.registry import add
from snnconvert.conversion.rules.rule import Rule, Shapes


def macs_of_weights(shapes: Shapes, output: Sequence[int]) -> int:
    """Convolution and linear: every output value sums one row of the weight, padding included."""
    return prod(output) * prod(shapes[1][1:])


def macs_of_matmul(shapes: Shapes, output: Sequence[int]) -> int:
    """Matrix product: every output value sums over the inner dimension."""
    return prod(output) * shapes[0][-1]


def macs_of_addmm(shapes: Shapes, output: Sequence[int]) -> int:
    """addmm(bias, a, b): as the matrix product of a and b."""
    return prod(output) * shapes[1][-1]


def macs_of_transposed(shapes: Shapes, output: Sequence[int]) -> int:
    """Transposed convolution: every input value is spread by one row of the weight."""
    return prod(shapes[0]) * prod(shapes[1][1:])


CONVOLUTION = Rule("bilinear", macs_of_weights, weight=1, bias=2, channel_axis=1, fresh=True)
add(replace(CONVOLUTION, folds=True), """
    conv1d.default conv1d.padding conv2d.default conv2d.padding conv3d.default conv3d.padding
""")  # fmt: skip
add(replace(CONVOLUTION, macs=macs_of_transposed), """
    conv_transpose1d.default conv_transpose2d.input conv_transpose3d.input""")  # fmt: skip
add(replace(CONVOLUTION, channel_axis=-1), "linear.default")
add(Rule("bilinear", macs_of_matmul, channel_axis=-1), "matmul.default")
add(Rule("bilinear", macs_of_matmul), "bmm.default mm.default mv.default")
add(Rule("bilinear", macs_of_matmul), "dot.default vdot.default")
add(Rule("bilinear", macs_of_einsum, equation=0), "einsum.default")
add(Rule("bilinear", macs_of_addmm), "addmm.default baddbmm.default")
add(Rule("bilinear", gate="product"), "mul.Tensor")
add(Rule("bilinear"), "mul.Scalar outer.default")
add(Rule("divided"), """
    div.Tensor div.Scalar masked_fill.Scalar index.Tensor index_select.default gather.default
""")  # fmt: skip
add(Rule("linear", index=1), "index_put.default")
add(Rule("linear", index=2), "index_add.default scatter_add.default index_copy.default")
add(Rule("linear", index=2), "scatter.src scatter.value")
add(Rule("linear", fresh=True), "add.Tensor")
add(Rule("linear", fresh=True, weight=1, bias=2, channel_axis=1), "batch_norm.default")
add(Rule("linear", channel_axis=1), "_native_batch_norm_legit_no_training.default")
add(Rule("linear", turns=True), "neg.default")
add(Rule("linear"), """
    add.Scalar sub.Tensor sub.Scalar rsub.Scalar rsub.Tensor
    avg_pool1d.default avg_pool2d.default avg_pool3d.default adaptive_avg_pool1d.default
    adaptive_avg_pool2d.default adaptive_avg_pool3d.default
    mean.dim mean.default sum.dim_IntList sum.default col2im.default cumsum.default
    _fft_r2c.default _fft_c2r.default _fft_c2c.default view_as_real.default view_as_complex.default
    real.default imag.default complex.default
    upsample_linear1d.vec upsample_bilinear2d.vec upsample_bicubic2d.vec upsample_trilinear3d.vec
    upsample_linear1d.default upsample_bilinear2d.default upsample_bicubic2d.default
    upsample_trilinear3d.default _upsample_bilinear2d_aa.vec _upsample_bicubic2d_aa.vec
    zero.default zeros_like.default ones_like.default
    full_like.default new_zeros.default new_ones.default
    new_full.default""")  # fmt: skip
