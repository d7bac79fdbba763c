"""SDDPM's network, written plainly on spikingjelly's layers in step mode "m": the reference.

Every layer sees the whole train [T, B, C, H, W]; nothing is computed once, fused or in place.
`plain_copy` builds it from one of ours, with its weights.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from spikingjelly.activation_based import functional, layer, neuron
from torch import nn

from snnconvert.models.spiking.config import SpikingUNetConfig
from snnconvert.models.spiking.unet import SpikingUNet


def plain_node(config: SpikingUNetConfig) -> nn.Module:
    fire = config.node().surrogate_function
    reset = {"hard": 0.0, "soft": None}[config.reset]
    common = {"v_threshold": config.v_threshold, "v_reset": reset, "surrogate_function": fire}
    if config.neuron == "if":
        return neuron.IFNode(**common)
    if config.neuron == "lif":
        return neuron.LIFNode(tau=config.tau, **common)
    return neuron.ParametricLIFNode(init_tau=config.tau, **common)


class PlainConv(layer.Conv2d):
    """A convolution that TSM scales in every step."""

    def __init__(self, config, inputs, outputs, size=3, stride=1):
        super().__init__(inputs, outputs, size, stride, size // 2)
        self.step_scale = nn.Parameter(torch.ones(config.timesteps)) if config.tsm else None

    def forward(self, x):
        y = super().forward(x)
        return y if self.step_scale is None else y * self.step_scale.view(-1, 1, 1, 1, 1)


class PlainLayer(nn.Module):
    def __init__(self, config, inputs, outputs, size=3, stride=1, grow=False):
        super().__init__()
        self.grow = grow
        self.neuron = plain_node(config)
        self.conv = PlainConv(config, inputs, outputs, size, stride)
        self.norm = layer.BatchNorm2d(outputs)

    def forward(self, x):
        s = self.neuron(x)
        if self.grow:
            s = F.interpolate(s.flatten(0, 1), scale_factor=2).unflatten(0, s.shape[:2])
        return self.norm(self.conv(s))


class PlainBlock(nn.Module):
    def __init__(self, config, inputs, outputs):
        super().__init__()
        self.layer1 = PlainLayer(config, inputs, outputs)
        self.time = nn.Linear(4 * config.channels, outputs)
        self.layer2 = PlainLayer(config, outputs, outputs)
        self.shortcut = (
            nn.Identity() if inputs == outputs else PlainConv(config, inputs, outputs, 1)
        )

    def forward(self, x, time):
        h = self.layer1(x)
        currents = self.time(F.silu(time))[:, :, None, None].repeat(1, 1, *h.shape[-2:])
        return self.layer2(h + currents) + self.shortcut(x)


class PlainStem(nn.Module):
    def __init__(self, config):
        super().__init__()
        self.conv = PlainConv(config, config.in_channels, config.channels)
        self.norm = layer.BatchNorm2d(config.channels)
        self.layer = PlainLayer(config, config.channels, config.channels)

    def forward(self, x):
        return self.layer(self.norm(self.conv(x)))


class PlainTail(nn.Module):
    def __init__(self, config):
        super().__init__()
        self.norm = layer.BatchNorm2d(config.channels)
        self.conv = PlainConv(config, config.channels, config.in_channels)
        self.mix = nn.Conv3d(config.in_channels, config.in_channels, (3, 3, 1), padding=(1, 1, 0))
        self.mix_norm = layer.BatchNorm2d(config.in_channels)

    def forward(self, h):
        y = self.conv(F.silu(self.norm(h)))
        z = self.mix(y.permute(1, 2, 3, 4, 0)).permute(4, 0, 1, 2, 3)
        z = F.silu(self.mix_norm(z)) + y
        eps = torch.zeros_like(z[0])
        for step in z:  # a membrane that never fires
            eps = 0.8 * eps + step
        return eps


class PlainSpikingUNet(nn.Module):
    """The parameter names are ours, so that a state dict fits (see `plain_copy`)."""

    def __init__(self, config: SpikingUNetConfig) -> None:
        super().__init__()
        self.config = config
        c = config.channels
        self.embedding = nn.Embedding(config.diffusion_steps, c)
        self.time = nn.Sequential(nn.Linear(c, 4 * c), nn.SiLU(), nn.Linear(4 * c, 4 * c))
        self.stem = PlainStem(config)
        widths = [c * mult for mult in config.channel_mult]
        skips, width = [c], c
        self.down = nn.ModuleList()
        for level, wide in enumerate(widths):
            for _ in range(config.blocks):
                self.down.append(nn.ModuleList([PlainBlock(config, width, wide)]))
                width = wide
                skips.append(width)
            if level + 1 < len(widths):
                self.down.append(nn.ModuleList([PlainLayer(config, width, width, stride=2)]))
                skips.append(width)
        self.middle = nn.ModuleList([PlainBlock(config, width, width) for _ in range(2)])
        self.up = nn.ModuleList()
        for level, wide in reversed(list(enumerate(widths))):
            for _ in range(config.blocks + 1):
                self.up.append(nn.ModuleList([PlainBlock(config, width + skips.pop(), wide)]))
                width = wide
            if level:
                self.up.append(nn.ModuleList([PlainLayer(config, width, width, grow=True)]))
        self.tail = PlainTail(config)
        functional.set_step_mode(self, "m")

    def forward(self, x, t):
        functional.reset_net(self)
        time = self.time(self.embedding(t))
        h = self.stem(x.unsqueeze(0).repeat(self.config.timesteps, 1, 1, 1, 1))
        skips = [h]
        for (stage,) in self.down:
            h = stage(h, time) if isinstance(stage, PlainBlock) else stage(h)
            skips.append(h)
        for stage in self.middle:
            h = stage(h, time)
        for (stage,) in self.up:
            if isinstance(stage, PlainBlock):
                h = stage(torch.cat([h, skips.pop()], dim=2), time)
            else:
                h = stage(h)
        return self.tail(h)


def plain_copy(network: SpikingUNet, contiguous: bool = False) -> PlainSpikingUNet:
    """The plain network with the same weights and statistics.

    contiguous: in the memory layout that it has by itself, not in ours.
    """
    renamed = {
        plain_name(key): value[..., None] if key == "tail.mix.weight" else value
        for key, value in network.state_dict().items()
    }
    plain = PlainSpikingUNet(network.config).to(network.stem.conv.weight)
    plain.load_state_dict(renamed)
    plain.embedding.weight.requires_grad_(False)
    for module in plain.modules():
        if isinstance(module, nn.Conv2d) and not contiguous:
            module.to(memory_format=torch.channels_last)  # the same kernels: bits can be equal
    return plain.train(network.training)


def plain_name(key: str) -> str:
    """Of a parameter of ours, in the plain network."""
    names = {"time_table.table": "embedding.weight"}
    for ours, index in (("hidden", 0), ("out", 2)):
        for kind in ("weight", "bias"):
            names[f"time_table.{ours}.{kind}"] = f"time.{index}.{kind}"
    return names.get(key, key)
