"""Weights of few bits: rounded evenly in each output channel, with a straight-through gradient."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn

from snnconvert.common.checks import checked_integer


@torch.library.custom_op("snnconvert::quantized_weight", mutates_args=())
def quantized_weight(weight: Tensor, bits: int) -> Tensor:
    """Round `weight` ([out, ...]) to 2^bits - 1 even steps per output channel, max |w| kept."""
    largest = weight.abs().amax(dim=list(range(1, weight.ndim)), keepdim=True)
    step = (largest / (2 ** (bits - 1) - 1)).clamp_min(torch.finfo(weight.dtype).tiny)
    result: Tensor = (weight / step).round_().mul_(step)
    return result


@quantized_weight.register_fake
def _(weight: Tensor, bits: int) -> Tensor:
    return torch.empty_like(weight)


quantized_weight.register_autograd(lambda ctx, grad: (grad, None))  # straight through


class QuantizedConv2d(nn.Conv2d):
    """Convolution whose weights are rounded to `bits` per output channel (2 ... 16)."""

    def __init__(self, *args: Any, bits: int, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.bits = check_weight_bits(bits)

    def forward(self, x: Tensor) -> Tensor:
        result: Tensor = self._conv_forward(x, quantized_weight(self.weight, self.bits), self.bias)
        return result


class QuantizedLinear(nn.Linear):
    """Linear layer whose weights are rounded to `bits` per output feature (2 ... 16)."""

    def __init__(self, *args: Any, bits: int, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.bits = check_weight_bits(bits)

    def forward(self, x: Tensor) -> Tensor:
        return nn.functional.linear(x, quantized_weight(self.weight, self.bits), self.bias)


def check_weight_bits(bits: int) -> int:
    """`bits` if it is 2 ... 16, else InputError (one bit has no step above zero)."""
    return checked_integer("weight_bits", bits, 2, 16)
