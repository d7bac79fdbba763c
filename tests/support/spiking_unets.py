"""Small native spiking U-Nets in which every layer matters."""

from __future__ import annotations

import torch
from torch import nn

from snnconvert.models import SpikingUNet

NEURONS = [
    {},
    {"reset": "soft"},
    {"neuron": "lif", "tau": 3.0},
    {"neuron": "lif", "reset": "soft", "surrogate": "sigmoid", "sharpness": 4.0},
    {"neuron": "plif"},
    {"neuron": "plif", "reset": "soft", "surrogate": "rect", "sharpness": 1.0},
]


def tiny_spiking_unet(seed: int = 0, **changes) -> SpikingUNet:
    """In evaluation mode; random statistics, factors and a tail that is not nearly zero."""
    shape = {"timesteps": 3, "in_channels": 2, "channels": 8, "channel_mult": (1, 2), "blocks": 1}
    torch.manual_seed(seed)
    network = SpikingUNet(**{**shape, **changes})
    nn.init.xavier_uniform_(network.tail.conv.weight)
    for name, parameter in network.named_parameters():
        if name.endswith("step_scale"):
            nn.init.uniform_(parameter, 0.5, 1.5)
    for module in network.modules():
        if isinstance(module, nn.BatchNorm2d):
            nn.init.uniform_(module.running_mean, -0.2, 0.2)
            nn.init.uniform_(module.running_var, 0.5, 2.0)
            nn.init.uniform_(module.weight, 0.7, 1.5)
            nn.init.uniform_(module.bias, -0.2, 0.5)
    return network.eval()


def inputs(batch: int = 3, channels: int = 2, size: tuple[int, int] = (8, 8), seed: int = 1):
    """(x, whole t)."""
    generator = torch.Generator().manual_seed(seed)
    x = torch.randn(batch, channels, *size, generator=generator)
    return x, torch.randint(1000, (batch,), generator=generator)


def gradients(network: nn.Module, x, t) -> dict[str, torch.Tensor]:
    """Of a weighted sum of the outputs, by parameter."""
    network.zero_grad()
    out = network(x, t)
    weights = torch.linspace(-1, 1, out.numel(), dtype=out.dtype).view_as(out)
    (out * weights).sum().backward()
    return {n: p.grad.clone() for n, p in network.named_parameters() if p.grad is not None}
