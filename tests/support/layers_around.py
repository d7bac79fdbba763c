"""A function between (or before) the layers of a small network."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor, nn

import snnconvert
from snnconvert.conversion.spiking.network import SpikingNetwork
from tests.support.errors import relative_error


class Around(nn.Module):
    """`before`, linear, ReLU, `between`, linear; [B, 6] to [B, 3]."""

    def __init__(
        self, between: Callable[[Tensor], Tensor], before: Callable[[Tensor], Tensor] | None = None
    ) -> None:
        super().__init__()
        self.first, self.last = nn.Linear(6, 6), nn.Linear(6, 3)
        self.before, self.between = before, between

    def forward(self, x: Tensor) -> Tensor:
        x = x if self.before is None else self.before(x)
        return self.last(self.between(self.first(x).relu()))


class Activated(nn.Module):
    """Linear, `activation`, linear; [B, 6] to [B, 3]."""

    def __init__(self, activation: Callable[[Tensor], Tensor]) -> None:
        super().__init__()
        self.first, self.last = nn.Linear(6, 6), nn.Linear(6, 3)
        self.activation = activation

    def forward(self, x: Tensor) -> Tensor:
        return self.last(self.activation(self.first(x)))


@torch.no_grad()
def held(model: nn.Module, x: Tensor, timesteps: int = 256, close: float = 0.02) -> SpikingNetwork:
    """`model` converted: bit-equal to its quantised network, `close` to the float one."""
    model.eval()
    snn = snnconvert.convert(
        model, timesteps, example_inputs=x, calibration=[x], threshold="max", bias_correction=False
    )
    found, wanted = snn(x), model(x)
    assert torch.equal(found, snn.quantized_ann()(x))
    assert relative_error([found], [wanted]) < close
    return snn
