"""The quantised clip: the activation whose integer an integrate-and-fire neuron can count.

    q(x) = ceiling * clamp(floor(levels * x / ceiling + 1/2), low, levels) / levels

`low` is 0, or `-levels` for the signed variant. The 1/2 is where a neuron's potential starts, in
thresholds (`v_init`); another start rounds elsewhere. With a straight-through floor the gradient is
1 inside the clip and 0 outside; the ceiling learns with 1 above it and `(q(x) - x) / ceiling`
inside (PACT, Choi et al. 2018; LSQ, Esser et al. 2020; QCFS, Bu et al. 2022; Fast-SNN, Hu et al.
2023).
"""

from __future__ import annotations

from functools import cache
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn

from snnconvert.common.checks import checked_integer
from snnconvert.errors import InputError
from snnconvert.operators.pieces import pieces

HALF = 0.5
INITIAL_CEILING = 6.0  # Fast-SNN's start; calibration replaces it before training


def along_channels(ceiling: Tensor, x: Tensor) -> Tensor:
    """View of `ceiling` that broadcasts over `x` ([B, C, ...]): [C] lies along axis 1.

    [] and shapes of x's own rank, such as [1, 1, C] for channels last, are taken as they are.
    """
    if ceiling.ndim != 1:
        return ceiling
    return ceiling.view(-1, *(1,) * (x.ndim - 2))


def as_ceiling(bound: Tensor) -> Tensor:
    """A tensor that broadcasts over values, as a ceiling: [], or of two axes and more as it is."""
    if bound.numel() == 1:
        return bound.reshape(())
    return bound[None] if bound.ndim == 1 else bound


def counts_per_unit(ceiling: Tensor, steps: int, x: Tensor) -> Tensor:
    """`steps / ceiling` as it broadcasts over `x`, in x's dtype."""
    return along_channels(steps / ceiling, x).to(x.dtype)


def unit_per_count(ceiling: Tensor, steps: int, x: Tensor) -> Tensor:
    """`ceiling / steps` as it broadcasts over `x`, in x's dtype."""
    return along_channels(ceiling / steps, x).to(x.dtype)


def v_init_over(v_init: Tensor | float, x: Tensor) -> Tensor:
    """`v_init` as it broadcasts over `x`, in x's dtype."""
    if not isinstance(v_init, Tensor):  # filled in place: no copy from the host in a CUDA graph
        return torch.full((), v_init, dtype=x.dtype, device=x.device)
    start = v_init.to(x.device)
    return along_channels(start, x).to(x.dtype)


class Factors(NamedTuple):
    """What counting takes, as it broadcasts over values: counts a unit, its inverse, the start."""

    scale: Tensor
    unit: Tensor
    start: Tensor


def factors_of(ceiling: Tensor, steps: int, v_init: Tensor | float, x: Tensor) -> Factors:
    """Those of values like `x`, in its dtype."""
    scale, unit = counts_per_unit(ceiling, steps, x), unit_per_count(ceiling, steps, x)
    return Factors(scale, unit, v_init_over(v_init, x))


def check_counts(levels: int, dtype: torch.dtype) -> None:
    """InputError unless counts up to `levels` are exact in `dtype`: bfloat16 goes up to 256."""
    largest = largest_count(dtype)
    if levels > largest:
        kind = str(dtype).removeprefix("torch.")
        raise InputError(
            f"timesteps: found {levels} levels in {kind}, which holds whole numbers exactly up to "
            f"{largest} only: run the network in float32 (without autocast), or convert it with "
            "fewer timesteps"
        )


@cache
def largest_count(dtype: torch.dtype) -> int:
    """Up to which every whole number is one of `dtype`."""
    return int(2 / torch.finfo(dtype).eps)


def counted(
    x: Tensor, scale: Tensor, start: Tensor, low: int, high: int, out: Tensor | None = None
) -> Tensor:
    """`clamp(floor(x * scale + start), low, high)`.

    The quantiser and the neurons count by this one function; that is what makes them agree to the
    last bit.

    Raises:
        InputError: x's dtype does not hold every whole number up to `high`.
    """
    check_counts(high, x.dtype)
    return torch.mul(x, scale, out=out).add_(start).floor_().clamp_(low, high)


def to_counts(
    x: Tensor, ceiling: Tensor, steps: int, low: int, high: int, v_init: Tensor | float = HALF
) -> Tensor:
    """Integers `clamp(floor(steps * x / ceiling + v_init), low, high)`, as floats of x's dtype.

    The quantiser calls it with `steps = high = levels`; a neuron after k of T steps with
    `steps = min(k, T)`.
    """
    scale, start = counts_per_unit(ceiling, steps, x), v_init_over(v_init, x)
    return counted(x, scale, start, low, high)


def from_counts(counts: Tensor, ceiling: Tensor, steps: int) -> Tensor:
    """The value of `counts` spikes of size `ceiling` over `steps`: counts * ceiling / steps."""
    return counts * unit_per_count(ceiling, steps, counts)


def quantised(
    x: Tensor, factors: Factors, low: int, levels: int, out: Tensor | None = None
) -> Tensor:
    """`from_counts(to_counts(x))` at `levels`, without keeping the counts.

    out: where to write it; may be `x` itself.
    """
    result = torch.empty_like(x) if out is None else out
    for part, to, scale, unit, start in pieces(x, result, *factors):
        counted(part, scale, start, low, levels, to).mul_(unit)
    return result


def summed_along(value: Tensor, ceiling: Tensor) -> Tensor:
    """`value`, of x's shape, summed over all that shares one ceiling; in the ceiling's shape."""
    shape = along_channels(ceiling, value).shape
    return value.to(ceiling.dtype).sum_to_size(shape).view_as(ceiling)


@torch.library.custom_op("snnconvert::quantized_clip", mutates_args=())
def quantized_clip(
    x: Tensor, ceiling: Tensor, levels: int, signed: bool = False, v_init: Tensor | None = None
) -> Tensor:
    """Quantise `x` ([B, C, ...]) to `levels` steps above zero under `ceiling` ([] or [C], > 0).

    `v_init`: where to round, in [0, 1), [] or [C]; None: to the nearest (1/2).
    """
    low, start = -levels if signed else 0, HALF if v_init is None else v_init
    return quantised(x, factors_of(ceiling, levels, start, x), low, levels)


@quantized_clip.register_fake
def _(
    x: Tensor, ceiling: Tensor, levels: int, signed: bool = False, v_init: Tensor | None = None
) -> Tensor:
    return torch.empty_like(x)


def _save_for_backward(ctx: Any, inputs: tuple[Any, ...], output: Tensor) -> None:
    x, ceiling, _, ctx.signed, _ = inputs
    ctx.save_for_backward(x, ceiling, output)


def _backward(ctx: Any, grad: Tensor) -> tuple[Tensor | None, ...]:
    x, ceiling, output = ctx.saved_tensors
    top = along_channels(ceiling, x).to(x.dtype)
    inside = (x < top) & (x > (-top if ctx.signed else 0))
    grad_x = grad * inside
    # Above the ceiling output/ceiling is 1, below zero it is 0, inside it is q/ceiling:
    # one difference of two sums gives all three branches of the ceiling's gradient.
    total = summed_along(grad * output, ceiling) - summed_along(grad_x * x, ceiling)
    return grad_x, total / ceiling, None, None, None


quantized_clip.register_autograd(_backward, setup_context=_save_for_backward)


class QuantizedClip(nn.Module):
    """Activation `q` with a learned ceiling, per layer or (`channels` given) per channel.

    Args:
        levels: quantisation steps above zero, 1 or more; T spikes carry `levels = T`.
        channels: number of channels for one ceiling each; None for one ceiling per layer.
        signed: clamp to [-ceiling, ceiling] instead of [0, ceiling].

    Raises:
        InputError: `levels` is no positive integer.
    """

    def __init__(self, levels: int, channels: int | None = None, signed: bool = False) -> None:
        super().__init__()
        self.levels = checked_integer("levels", levels, 1)
        self.signed = signed
        shape = () if channels is None else (channels,)
        self.ceiling = nn.Parameter(torch.full(shape, INITIAL_CEILING))

    def forward(self, x: Tensor) -> Tensor:
        result: Tensor = quantized_clip(x, self.ceiling, self.levels, self.signed)
        return result

    def extra_repr(self) -> str:
        return f"levels={self.levels}, signed={self.signed}, ceilings={self.ceiling.numel()}"


def activation(levels: int, channels: int | None = None) -> nn.Module:
    """ReLU of a float network (`levels` 0), or a quantised clip with as many steps."""
    return QuantizedClip(levels, channels) if levels else nn.ReLU()
