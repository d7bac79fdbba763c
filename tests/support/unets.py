"""Small U-Nets with random weights."""

from __future__ import annotations

import torch
from torch import nn

from snnconvert.models.unet import UNet, UNetConfig


def tiny_unet(seed: int = 0, **changes) -> UNet:
    """A small U-Net with random weights in which every layer matters (no near-zero gains)."""
    shape = {"in_channels": 2, "channels": 8, "channel_mult": (1, 2), "blocks": 1, "groups": 4,
             "dropout": 0.0, "levels": 4}  # fmt: skip
    torch.manual_seed(seed)
    network = UNet(UNetConfig(**{**shape, **changes}))
    for module in network.modules():
        if isinstance(module, (nn.Conv2d, nn.Linear)):
            nn.init.kaiming_uniform_(module.weight, a=1.0)
        if isinstance(module, nn.BatchNorm2d):
            nn.init.uniform_(module.running_mean, -0.2, 0.2)
            nn.init.uniform_(module.running_var, 0.5, 2.0)
        if hasattr(module, "ceiling"):
            nn.init.uniform_(module.ceiling, 1.0, 3.0)
    return network.eval()


def unet_inputs(batch: int = 3, channels: int = 2, size: int = 8, seed: int = 1) -> tuple:
    """(x, t) for `tiny_unet`."""
    generator = torch.Generator().manual_seed(seed)
    x = torch.randn(batch, channels, size, size, generator=generator)
    return x, torch.rand(batch, generator=generator) * 999
