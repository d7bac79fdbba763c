"""Operations that commute with the mean over time, and those linear in one operand."""

from __future__ import annotations

import operator
from collections.abc import Sequence
from math import prod

from snnconvert.conversion.rules.table import Rule, Shapes, add, register


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


add(Rule("bilinear", macs_of_weights), """
    conv1d.default conv1d.padding conv2d.default conv2d.padding conv3d.default conv3d.padding
    linear.default""")  # fmt: skip
add(Rule("bilinear", macs_of_transposed), """
    conv_transpose1d.default conv_transpose2d.input conv_transpose3d.input""")  # fmt: skip
add(Rule("bilinear", macs_of_matmul), "matmul.default bmm.default mm.default mv.default")
add(Rule("bilinear", macs_of_addmm), "addmm.default baddbmm.default")
add(Rule("bilinear"), "mul.Tensor mul.Scalar einsum.default outer.default dot.default vdot.default")
add(Rule("divided"), """
    div.Tensor div.Scalar masked_fill.Scalar index.Tensor index_select.default gather.default
""")  # fmt: skip
add(Rule("linear"), """
    add.Tensor add.Scalar sub.Tensor sub.Scalar rsub.Scalar rsub.Tensor neg.default
    batch_norm.default _native_batch_norm_legit_no_training.default
    avg_pool1d.default avg_pool2d.default avg_pool3d.default adaptive_avg_pool1d.default
    adaptive_avg_pool2d.default adaptive_avg_pool3d.default
    mean.dim mean.default sum.dim_IntList sum.default im2col.default col2im.default
    unfold.default cumsum.default
    upsample_linear1d.vec upsample_bilinear2d.vec upsample_bicubic2d.vec upsample_trilinear3d.vec
    upsample_linear1d.default upsample_bilinear2d.default upsample_bicubic2d.default
    upsample_trilinear3d.default _upsample_bilinear2d_aa.vec _upsample_bicubic2d_aa.vec
    zero.default zeros_like.default ones_like.default
    full_like.default new_zeros.default new_ones.default
    new_full.default""")  # fmt: skip
add(Rule("linear", moves=True), """
    cat.default stack.default slice.Tensor select.int narrow.default unsqueeze.default
    squeeze.default squeeze.dim squeeze.dims flatten.using_ints unflatten.int view.default
    view_as.default reshape.default reshape_as.default _unsafe_view.default _reshape_alias.default
    permute.default transpose.int t.default numpy_T.default mT.default movedim.int
    movedim.intlist swapaxes.default swapdims.default chunk.default split.Tensor split.sizes
    split_with_sizes.default tensor_split.sections unbind.int expand.default expand_as.default
    contiguous.default clone.default detach.default alias.default lift_fresh_copy.default
    pixel_shuffle.default pixel_unshuffle.default channel_shuffle.default
    pad.default constant_pad_nd.default reflection_pad1d.default reflection_pad2d.default
    replication_pad1d.default replication_pad2d.default
    upsample_nearest1d.vec upsample_nearest2d.vec upsample_nearest3d.vec
    upsample_nearest1d.default upsample_nearest2d.default upsample_nearest3d.default
    _upsample_nearest_exact1d.vec _upsample_nearest_exact2d.vec _upsample_nearest_exact3d.vec
    roll.default flip.default repeat.default repeat_interleave.self_int tile.default
    slice_scatter.default select_scatter.default diagonal.default
    to.dtype to.dtype_layout to.other to.device _to_copy.default type_as.default""")  # fmt: skip
register("aten.getitem", Rule("linear", moves=True, function=operator.getitem))
