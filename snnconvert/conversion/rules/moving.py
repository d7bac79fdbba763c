"""Operations that only move, repeat or join values: spikes stay spikes; and which are views."""

from __future__ import annotations

import operator
from collections.abc import Callable
from typing import Any

from snnconvert.conversion.graph.program import Node, Ref
from snnconvert.conversion.rules.registry import add, register
from snnconvert.conversion.rules.rule import Rule, View

Back = tuple[str, tuple[Any, ...], dict[str, Any]]


def reshaped(_made: Node, whole: Ref, part: Ref) -> Back:
    """Puts back a view that has all elements, in the same order."""
    return "aten.reshape_as.default", (part, whole), {}


def scattered(op: str) -> Callable[[Node, Ref, Ref], Back]:
    """Puts back a part by `op`, which takes the part behind the whole."""

    def back(made: Node, whole: Ref, part: Ref) -> Back:
        return op, (whole, part, *made.args[1:]), made.kwargs

    return back


SHARED, SAME_ORDER = View(), View(reshaped)

add(Rule("linear", moves=True, view=SAME_ORDER), """
    unsqueeze.default squeeze.default squeeze.dim squeeze.dims unflatten.int detach.default
    alias.default""")  # fmt: skip
add(Rule("linear", moves=True, view=SAME_ORDER, in_order=True), "view.default")
add(Rule("linear", moves=True, view=View(scattered("aten.slice_scatter.default"))), "slice.Tensor")
add(Rule("linear", moves=True, view=View(scattered("aten.select_scatter.default"))), "select.int")
add(Rule("linear", moves=True, view=SHARED, in_order=True), "view_as.default")
add(Rule("linear", moves=True, view=SHARED), """
    narrow.default flatten.using_ints reshape.default reshape_as.default permute.default
    transpose.int t.default numpy_T.default mT.default movedim.int movedim.intlist
    swapaxes.default swapdims.default diagonal.default tensor_split.sections unfold.default
    _reshape_alias.default unbind.int expand.default expand_as.default
    to.dtype to.dtype_layout to.other to.device""")  # fmt: skip
add(Rule("linear", moves=True, view=SHARED, keeps_axes=True), """
    chunk.default split.Tensor split.sizes split_with_sizes.default
    contiguous.default""")  # fmt: skip
add(Rule("linear", moves=True, view=View(copies=True)), "lift_fresh_copy.default")
add(Rule("linear", moves=True, keeps_axes=True), "cat.default clone.default")
add(Rule("linear", moves=True, in_order=True), "_unsafe_view.default")
add(Rule("linear", moves=True), """
    stack.default
    pixel_shuffle.default pixel_unshuffle.default channel_shuffle.default
    pad.default constant_pad_nd.default reflection_pad1d.default reflection_pad2d.default
    replication_pad1d.default replication_pad2d.default
    upsample_nearest1d.vec upsample_nearest2d.vec upsample_nearest3d.vec
    upsample_nearest1d.default upsample_nearest2d.default upsample_nearest3d.default
    _upsample_nearest_exact1d.vec _upsample_nearest_exact2d.vec _upsample_nearest_exact3d.vec
    im2col.default roll.default flip.default repeat.default repeat_interleave.self_int tile.default
    slice_scatter.default select_scatter.default
    _to_copy.default type_as.default""")  # fmt: skip
register(
    "aten.getitem",
    Rule("linear", moves=True, function=operator.getitem, view=SHARED, keeps_axes=True),
)
