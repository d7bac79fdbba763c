"""Thresholds that depend on the diffusion time: a table over t, looked up once in a call.

t is known before the first spike, so a neuron keeps one threshold throughout a call. A batch may
hold different t; then every sample has the thresholds of its own.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from snnconvert.errors import InputError


@torch.library.custom_op("snnconvert::threshold_at", mutates_args=())
def threshold_at(table: Tensor, t: Tensor, edges: Tensor, low: float, high: float) -> Tensor:
    """The row of `table` that belongs to each sample's time, [B, ...] (one time: [1, ...]).

    Args:
        table: [N, ...], each row of a shape that broadcasts over one sample.
        t: [B], [B, 1, ...] or a single number.
        edges: [N - 1], ascending; row i holds from edges[i - 1] up to edges[i].
        low, high: t that the table is for.

    Raises:
        InputError: t outside low ... high, or not a number.
    """
    inside = (t >= low) & (t <= high)  # not-a-number is not
    if not bool(inside.all()):
        found = float(t[~inside].flatten()[0])
        raise InputError(
            f"t: found {found:g}, the thresholds of this network are for t from {low:g} to "
            f"{high:g}; calibrate with inputs over the whole range of t"
        )
    return table[rows_at(t, edges)]


def rows_at(t: Tensor, edges: Tensor) -> Tensor:
    """Which row of a table each time takes, int64 [B]."""
    return torch.bucketize(t.reshape(-1).to(edges.dtype), edges, right=True)


@threshold_at.register_fake
def _(table: Tensor, t: Tensor, edges: Tensor, low: float, high: float) -> Tensor:
    return table.new_empty(t.numel(), *table.shape[1:])


def _save_for_backward(ctx: Any, inputs: tuple[Any, ...], output: Tensor) -> None:
    table, t, edges, *_ = inputs
    ctx.rows = len(table)
    ctx.save_for_backward(t, edges)


def _backward(ctx: Any, grad: Tensor) -> tuple[Tensor | None, ...]:
    t, edges = ctx.saved_tensors
    total = grad.new_zeros(ctx.rows, *grad.shape[1:])
    return total.index_add_(0, rows_at(t, edges), grad), None, None, None, None


threshold_at.register_autograd(_backward, setup_context=_save_for_backward)
