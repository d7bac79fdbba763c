"""Sizes of kernels, pools and factors, in the forms in which NIR takes them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from torch import Tensor
from torch.nn.functional import pad


def each(value: Any, default: int, places: int) -> tuple[int, ...]:
    """One number an axis, of a number, a list or nothing."""
    values = (
        list(value) if isinstance(value, (list, tuple)) else [default if value is None else value]
    )
    values = values or [default]
    return tuple(int(v) for v in (values * places if len(values) == 1 else values))


def per_channel(value: Tensor, shape: Sequence[int]) -> Tensor | None:
    """[1] or [C] of what broadcasts over [B, *shape] by channel alone, else None."""
    if value.numel() == 1:
        return value.reshape(1)
    along = [1] * (len(shape) + 1 - value.ndim) + list(value.shape)
    return value.flatten() if along == [1, shape[0], *[1] * (len(shape) - 1)] else None


def per_input(worth: Tensor, weight: Tensor, groups: int) -> Tensor:
    """What a unit of each input channel is worth, as it broadcasts over a convolution's weight."""
    rest = (1,) * (weight.ndim - 2)
    if worth.numel() == 1:
        return worth.view(1, 1, *rest)
    rows = worth.view(groups, 1, -1).expand(-1, len(weight) // groups, -1)
    return rows.reshape(*weight.shape[:2], *rest)


def dense(weight: Tensor, groups: int) -> Tensor:
    """The weight without groups: NIR's own check, and most readers, take no grouped convolution."""
    if groups == 1:
        return weight
    outputs, inputs = len(weight) // groups, weight.shape[1]
    whole = weight.new_zeros(len(weight), inputs * groups, *weight.shape[2:])
    for group in range(groups):
        rows = slice(group * outputs, (group + 1) * outputs)
        whole[rows, group * inputs : (group + 1) * inputs] = weight[rows]
    return whole


def pads_of(padding: Any, weight: Tensor, dilation: Sequence[int]) -> tuple[int, ...] | str:
    """Padding in numbers wherever it is as wide on both sides."""
    if padding == "same":
        wide = [d * (k - 1) for d, k in zip(dilation, weight.shape[2:], strict=True)]
        return "same" if any(w % 2 for w in wide) else tuple(w // 2 for w in wide)
    return each(None if padding == "valid" else padding, 0, weight.ndim - 2)


def squared(
    weight: Tensor, padding: tuple[int, ...] | str, dilation: Sequence[int]
) -> tuple[Tensor, tuple[int, ...] | str] | None:
    """A kernel with zeros around until it is square, which is all that NIR's own check takes.

    None where the zeros would not be as many on both sides.
    """
    sides = weight.shape[2:]
    gaps = [max(sides) - side for side in sides]
    if not any(gaps):
        return weight, padding
    if isinstance(padding, str) or any(gap % 2 for gap in gaps):
        return None
    around = [gap // 2 for gap in reversed(gaps) for _ in range(2)]
    wider = zip(padding, gaps, dilation, strict=True)
    return pad(weight, around), tuple(p + gap // 2 * d for p, gap, d in wider)


def pooled_size(
    size: Sequence[int], kernel: Sequence[int], stride: Sequence[int], padding: Sequence[int]
) -> tuple[int, ...]:
    axes = zip(size, kernel, stride, padding, strict=True)
    return tuple((n + 2 * p - k) // s + 1 for n, k, s, p in axes)
