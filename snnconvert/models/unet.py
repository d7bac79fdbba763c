"""The diffusion U-Net of pytorch-ddpm and SDM, with ReLU (float) or quantised clips (quantised).

Ho et al. 2020 (DDPM); Cao et al. (SDM, IEEE TAI) for the quantised form without attention.
"""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import asdict, dataclass, replace
from typing import TypeVar

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from snnconvert.common.checks import set_integers
from snnconvert.errors import InputError
from snnconvert.models.family import MODELS, MOST_STEPS, Family
from snnconvert.models.paths import check_images, down_path, up_path
from snnconvert.operators.clip import activation as clip
from snnconvert.operators.weights import QuantizedConv2d, QuantizedLinear

Layer = TypeVar("Layer", nn.Conv2d, nn.Linear)


@dataclass(frozen=True)
class UNetConfig:
    """Shape of a U-Net. The defaults are SDM's CIFAR-10 network (34,164,227 weights)."""

    in_channels: int = 3
    channels: int = 128  # width of the first resolution
    channel_mult: tuple[int, ...] = (1, 2, 2, 2)  # width of each resolution over `channels`
    blocks: int = 2  # residual blocks a resolution on the way down (one more on the way up)
    attention: tuple[int, ...] = ()  # resolutions (0 = finest) with attention; the middle then too
    norm: str = "group"  # "group" or "batch"
    groups: int = 32
    dropout: float = 0.1
    patch: int = 1  # pixel-unshuffle factor of the stem
    levels: int = 0  # 0: float network with ReLU; else the quantised network
    per_channel: bool = False  # one ceiling per channel instead of per layer
    weight_bits: int = 0  # 0: float weights
    spike_driven: bool = False  # every convolution but the first reads activations, never currents
    spiking_time: bool = True  # quantised clips in the time path too; False: SiLU, never quantised

    def __post_init__(self) -> None:
        for key in ("channel_mult", "attention"):
            object.__setattr__(self, key, tuple(getattr(self, key)))
        least = {"in_channels": 1, "channels": 1, "blocks": 1, "patch": 1, "levels": 0}
        set_integers(self, least, "U-Net ", {"levels": MOST_STEPS})
        widths = [self.channels * mult for mult in self.channel_mult]
        problems = [
            (min(widths, default=0) < 1, "channel_mult: 1 or more, at least one"),
            (self.channels % 2 != 0, "channels: an even number (sine and cosine of the time)"),
            (self.norm not in ("group", "batch"), f"norm: found {self.norm!r}; group or batch"),
            (self.norm == "group" and (self.groups < 1 or any(w % self.groups for w in widths)),
             f"groups: {self.groups} must divide every width, found {widths}"),
            (any(not 0 <= level < len(widths) for level in self.attention),
             f"attention: found {self.attention}, allowed are 0 ... {len(widths) - 1}"),
            (not 0 <= self.dropout < 1, f"dropout: found {self.dropout}, allowed is [0, 1)"),
        ]  # fmt: skip
        for wrong, message in problems:
            if wrong:
                raise InputError(f"U-Net {message}")

    def to_dict(self) -> dict[str, object]:
        """Plain values, for a checkpoint."""
        return {k: list(v) if isinstance(v, tuple) else v for k, v in asdict(self).items()}

    def quantized(self, levels: int) -> UNetConfig:
        """The same shape with quantised clips of `levels` steps."""
        return replace(self, levels=levels)


def activation(config: UNetConfig, channels: int) -> nn.Module:
    """ReLU in the float network, a quantised clip in the quantised one."""
    return clip(config.levels, channels if config.per_channel else None)


def time_activation(config: UNetConfig) -> nn.Module:
    """The activation of what depends on t alone: a table over t where nothing of it spikes."""
    return activation(config, 4 * config.channels) if config.spiking_time else nn.SiLU()


def normalization(config: UNetConfig, channels: int) -> nn.Module:
    if config.norm == "batch":
        return nn.BatchNorm2d(channels)
    return nn.GroupNorm(config.groups, channels)


def conv(
    config: UNetConfig, inputs: int, outputs: int, size: int = 3, stride: int = 1, gain: float = 1.0
) -> nn.Conv2d:
    """Convolution with Xavier-uniform weights times `gain`, zero bias, size kept at stride 1."""
    layer: nn.Conv2d
    if config.weight_bits:
        layer = QuantizedConv2d(inputs, outputs, size, stride, size // 2, bits=config.weight_bits)
    else:
        layer = nn.Conv2d(inputs, outputs, size, stride, size // 2)
    return initialised(layer, gain)


def shrinking(config: UNetConfig, width: int) -> nn.Module:
    """Half the size: a convolution with stride 2 or, `spike_driven`, an average without weights."""
    if config.spike_driven:
        return nn.AvgPool2d(2, ceil_mode=True)
    return conv(config, width, width, stride=2)


def growing(config: UNetConfig, width: int) -> nn.Module:
    """What follows nearest-neighbour upsampling: a convolution or, `spike_driven`, nothing."""
    return nn.Identity() if config.spike_driven else conv(config, width, width)


def linear(config: UNetConfig, inputs: int, outputs: int) -> nn.Linear:
    if config.weight_bits:
        return initialised(QuantizedLinear(inputs, outputs, bits=config.weight_bits))
    return initialised(nn.Linear(inputs, outputs))


def initialised(layer: Layer, gain: float = 1.0) -> Layer:
    """`layer` with Xavier-uniform weights times `gain` and zero bias."""
    nn.init.xavier_uniform_(layer.weight, gain)
    if layer.bias is not None:
        nn.init.zeros_(layer.bias)
    return layer


def time_frequencies(width: int) -> Tensor:
    """[width / 2], float64: angle of a time embedding per unit of t."""
    exponents = torch.arange(0, width, 2, dtype=torch.float64) / width
    return torch.exp(-math.log(10_000.0) * exponents)


class TimeEmbedding(nn.Module):
    """t [B], whole or fractional -> [B, 4 * channels]; sine and cosine interleaved as in SDM."""

    frequencies: Tensor

    def __init__(self, config: UNetConfig) -> None:
        super().__init__()
        width = config.channels
        self.register_buffer("frequencies", time_frequencies(width).float(), persistent=False)
        self.hidden = linear(config, width, 4 * width)
        self.act = time_activation(config)
        self.out = linear(config, 4 * width, 4 * width)

    def forward(self, t: Tensor) -> Tensor:
        angles = t.to(self.frequencies.dtype)[:, None] * self.frequencies[None]
        waves = torch.stack([angles.sin(), angles.cos()], dim=-1).flatten(1)
        result: Tensor = self.out(self.act(self.hidden(waves)))
        return result


class ResBlock(nn.Module):
    """norm-act-conv, plus time, norm-act-dropout-conv, plus shortcut (1x1 where widths differ).

    The 1x1 convolution reads the block's input or, `spike_driven`, its first activation, as in
    pre-activation residual networks (He et al. 2016b): spikes, where x is a current.
    """

    def __init__(self, config: UNetConfig, inputs: int, outputs: int) -> None:
        super().__init__()
        self.spike_driven = config.spike_driven
        self.norm1 = normalization(config, inputs)
        self.act1 = activation(config, inputs)
        self.conv1 = conv(config, inputs, outputs)
        self.time_act = time_activation(config)
        self.time = linear(config, 4 * config.channels, outputs)
        self.norm2 = normalization(config, outputs)
        self.act2 = activation(config, outputs)
        self.dropout = nn.Dropout(config.dropout)
        self.conv2 = conv(config, outputs, outputs, gain=1e-5)  # starts as the identity
        self.shortcut = nn.Identity() if inputs == outputs else conv(config, inputs, outputs, 1)

    def forward(self, x: Tensor, time: Tensor) -> Tensor:
        first = self.act1(self.norm1(x))
        projected = isinstance(self.shortcut, nn.Conv2d)
        shortcut = self.shortcut(first if projected and self.spike_driven else x)
        h = self.conv1(first)
        h = h + self.time(self.time_act(time))[:, :, None, None]
        h = self.conv2(self.dropout(self.act2(self.norm2(h))))
        result: Tensor = h + shortcut
        return result


class AttentionBlock(nn.Module):
    """Single-head self-attention over pixels, residual; [B, C, H, W] -> the same."""

    def __init__(self, config: UNetConfig, channels: int) -> None:
        super().__init__()
        self.norm = normalization(config, channels)
        self.qkv = conv(config, channels, 3 * channels, 1)
        self.out = conv(config, channels, channels, 1, gain=1e-5)

    def forward(self, x: Tensor) -> Tensor:
        queries, keys, values = self.qkv(self.norm(x)).flatten(2).chunk(3, dim=1)  # [B, C, HW]
        scores = queries.transpose(1, 2) @ keys * x.shape[1] ** -0.5  # [B, HW, HW]
        mixed = values @ scores.softmax(dim=-1).transpose(1, 2)  # [B, C, HW]
        result: Tensor = x + self.out(mixed.unflatten(2, x.shape[-2:]))
        return result


class UNet(nn.Module):
    """A denoiser: (x [B, C, H, W], t [B]) -> its prediction (eps, v or x0) [B, C, H, W].

    H and W are any size that `patch` divides; t runs over 0 ... diffusion_steps - 1 and may be
    fractional. `config.levels` decides between the float and the quantised network; both have the
    same weights under the same names, the quantised one adds a `ceiling` per activation.
    """

    def __init__(self, config: UNetConfig) -> None:
        super().__init__()
        self.config = config
        widths = [config.channels * mult for mult in config.channel_mult]
        self.time_embedding = TimeEmbedding(config)
        self.head = conv(config, config.in_channels * config.patch**2, widths[0])
        self.down, skips = down_path(
            widths, config.blocks, self._stage, lambda width: shrinking(config, width)
        )
        middle = [ResBlock(config, widths[-1], widths[-1]) for _ in range(2)]
        self.middle = nn.ModuleList(middle)
        if config.attention:
            self.middle.insert(1, AttentionBlock(config, widths[-1]))
        self.up = up_path(
            widths, config.blocks, skips, self._stage, lambda width: growing(config, width)
        )
        self.tail_norm = normalization(config, widths[0])
        self.tail_act = activation(config, widths[0])
        self.tail = conv(config, widths[0], config.in_channels * config.patch**2, gain=1e-5)

    def _stage(self, inputs: int, outputs: int, level: int) -> nn.ModuleList:
        stage = nn.ModuleList([ResBlock(self.config, inputs, outputs)])
        if level in self.config.attention:
            stage.append(AttentionBlock(self.config, outputs))
        return stage

    def forward(self, x: Tensor, t: Tensor) -> Tensor:
        patch = self.config.patch
        check_images(x, self.config.in_channels, patch)
        time = self.time_embedding(t)
        h = self.head(F.pixel_unshuffle(x, patch) if patch > 1 else x)
        skips = [h]
        for stage in self.down:
            h = run_stage(stage.children(), h, time)
            skips.append(h)
        h = run_stage(self.middle, h, time)
        for stage in self.up:
            layers = list(stage.children())
            if isinstance(layers[0], ResBlock):
                h = torch.cat([h, skips.pop()], dim=1)
            else:  # to the size of the skip that comes next, so that odd sizes work
                h = F.interpolate(h, size=skips[-1].shape[-2:], mode="nearest")
            h = run_stage(layers, h, time)
        h = self.tail(self.tail_act(self.tail_norm(h)))
        return F.pixel_shuffle(h, patch) if patch > 1 else h


def run_stage(stage: Iterable[nn.Module], h: Tensor, time: Tensor) -> Tensor:
    """Layers in turn; residual blocks also get the time embedding."""
    for layer in stage:
        h = layer(h, time) if isinstance(layer, ResBlock) else layer(h)
    return h


MODELS.register("unet")(Family(UNetConfig, UNet, ("ann", "qann", "qann-radix"), "noise"))
