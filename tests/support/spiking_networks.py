"""Small quantised networks with random weights, for laws that hold for any network."""

from __future__ import annotations

from collections.abc import Callable
from functools import cache

import torch
from torch import Tensor, nn

import snnconvert
from snnconvert.conversion.spiking.network import SpikingNetwork
from snnconvert.models.unet import UNet, UNetConfig
from snnconvert.operators.clip import QuantizedClip


class ResidualCNN(nn.Module):
    """Convolutions, GroupNorm, two residual blocks, average pooling."""

    def __init__(self, levels: int, signed: bool = False) -> None:
        super().__init__()
        self.head = nn.Conv2d(2, 8, 3, padding=1)
        self.norms = nn.ModuleList(nn.GroupNorm(2, 8) for _ in range(3))
        self.acts = nn.ModuleList(QuantizedClip(levels, 8, signed) for _ in range(3))
        self.convs = nn.ModuleList(nn.Conv2d(8, 8, 3, padding=1) for _ in range(2))
        self.tail = nn.Linear(8, 5)

    def forward(self, x: Tensor) -> Tensor:
        h = self.head(x)
        for norm, act, conv in zip(self.norms, self.acts, self.convs, strict=False):
            h = h + conv(act(norm(h)))
        return self.tail(self.acts[2](self.norms[2](h)).mean(dim=(2, 3)))


def mlp(levels: int, signed: bool = False) -> tuple[nn.Module, tuple[Tensor, ...]]:
    layers = [nn.Linear(6, 16), QuantizedClip(levels, None, signed), nn.Linear(16, 16)]
    network = nn.Sequential(*layers, QuantizedClip(levels, 16, signed), nn.Linear(16, 3))
    return settled(network), (torch.randn(5, 6),)


def cnn(levels: int, signed: bool = False) -> tuple[nn.Module, tuple[Tensor, ...]]:
    return settled(ResidualCNN(levels, signed)), (torch.randn(3, 2, 6, 6),)


def unet(levels: int, signed: bool = False) -> tuple[nn.Module, tuple[Tensor, ...]]:
    """As the library's, zero-gain convolutions made to count."""
    network = UNet(UNetConfig(1, 8, (1, 2), 1, norm="group", groups=4, dropout=0.0, levels=levels))
    for module in network.modules():
        if isinstance(module, nn.Conv2d):
            nn.init.xavier_uniform_(module.weight)
        if isinstance(module, QuantizedClip):
            module.signed = signed
    x, t = torch.randn(2, 1, 8, 8), torch.tensor([3.0, 700.0])
    return settled(network), (x, t)


def settled(network: nn.Module) -> nn.Module:
    """Ceilings where random activations are neither all clipped nor all zero."""
    with torch.no_grad():
        for index, module in enumerate(m for m in network.modules() if hasattr(m, "ceiling")):
            module.ceiling.fill_(1.3 + 0.07 * (index % 5))
            if module.ceiling.ndim:
                module.ceiling.add_(torch.linspace(0, 0.4, len(module.ceiling)))
    return network.eval()


NETWORKS: dict[str, Callable[..., tuple[nn.Module, tuple[Tensor, ...]]]] = {
    "mlp": mlp,
    "cnn": cnn,
    "unet": unet,
}


def build(
    name: str, levels: int, signed: bool = False, seed: int = 0
) -> tuple[nn.Module, tuple[Tensor, ...]]:
    """A network of `NETWORKS` and example inputs; the same for equal arguments."""
    torch.manual_seed(seed)
    return NETWORKS[name](levels, signed)


@cache
def _converted(
    name: str, signed: bool, double: bool
) -> tuple[nn.Module, tuple[Tensor, ...], SpikingNetwork]:
    network, inputs = build(name, 4, signed)
    if double:
        network, inputs = network.double(), tuple(value.double() for value in inputs)
    return network, inputs, snnconvert.convert(network, 4, example_inputs=inputs)


def pair(
    name: str, timesteps: int, signed: bool = False, double: bool = False, **options: object
) -> tuple[nn.Module, tuple[Tensor, ...], SpikingNetwork]:
    """(quantised network, inputs, spiking network of `options` that is to be equal to it)."""
    network, inputs, snn = _converted(name, signed, double)
    snn = snn.with_config(timesteps=timesteps, **options)
    for module in network.modules():
        if isinstance(module, QuantizedClip):
            module.levels = snn.config.levels
    return network, inputs, snn
