"""The quantised clip while weights are trained under it: a random part stays unquantised.

    y = where(quantise, q(x), a(x))        a: the activation that q replaces

Left unquantised at random, activations keep the training from fitting the rounding of the few
calibration inputs (QDrop, Wei et al. 2022).
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor

from snnconvert.operators.clip import along_channels, summed_along


class DroppedClip(torch.autograd.Function):
    """`q(x)` where `quantised`, `float_value` elsewhere; gradients as `quantized_clip` has."""

    @staticmethod
    def forward(
        ctx: Any, x: Tensor, float_value: Tensor, ceiling: Tensor, levels: int, signed: bool,
        quantised: Tensor,
    ) -> Tensor:  # fmt: skip
        low = -levels if signed else 0
        scale = along_channels(levels / ceiling, x)
        output = (x * scale).add_(0.5).floor_().clamp_(low, levels).div_(scale)
        top = along_channels(ceiling, x)
        inside = (x < top) & (x > (-top if signed else 0))
        ctx.save_for_backward(x, output, ceiling, inside & quantised, quantised)
        return torch.where(quantised, output, float_value)

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor | None, ...]:
        x, output, ceiling, inside, quantised = ctx.saved_tensors
        grad_x = grad * inside
        grad_quantised = grad * quantised
        total = torch.addcmul(grad_quantised * output, grad_x, x, value=-1)
        grad_float = grad - grad_quantised
        return grad_x, grad_float, summed_along(total, ceiling) / ceiling, None, None, None


def dropped_clip(
    source: str,
    ceiling: str,
    levels: int,
    signed: bool,
    activation: Callable[[Tensor], Tensor],
    draw: Callable[[Sequence[int]], Tensor],
) -> Callable[[dict[str, Any]], Tensor]:
    """The operation of one clip as a function of all values, for an `Interpreter`.

    Args:
        source, ceiling: names of what it reads.
        activation: the operation that it replaces.
        draw: of a shape, True where to quantise.
    """

    def run(values: dict[str, Any]) -> Tensor:
        x = values[source]
        result: Tensor = DroppedClip.apply(
            x,
            activation(x),
            values[ceiling],
            levels,
            signed,
            draw(x.shape).view(x.shape).to(x.device),
        )
        return result

    return run


class Coin:
    """Draws of masks that are True with probability `share`; eight values a random number."""

    def __init__(self, share: float, seed: int) -> None:
        self.largest = max(0, round(256 * share) - 1)  # of a byte that says True
        self.generator = torch.Generator().manual_seed(seed)

    def __call__(self, shape: Sequence[int]) -> Tensor:
        count = torch.Size(shape).numel()
        numbers = torch.randint(-(2**63), 2**63 - 1, (count // 8 + 1,), generator=self.generator)
        return (numbers.view(torch.uint8)[:count] <= self.largest).view(shape)
