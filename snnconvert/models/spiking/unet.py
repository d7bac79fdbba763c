"""The spiking U-Net of SDDPM, trained directly; with TSM, the temporal-wise spiking mechanism.

Cao et al. 2024 (SDDPM, WACV); Cao et al. (SDM, IEEE TAI) for TSM. Every image of a batch is
presented in all T steps. Residual blocks are batch-normed and spike-driven; what is not: the first
convolution, the 1x1 shortcuts, the time embedding (Swish) and the tail.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from contextlib import contextmanager, nullcontext
from dataclasses import replace
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint

from snnconvert.errors import InputError
from snnconvert.models.family import MODELS, Family, entry_of
from snnconvert.models.paths import check_images, down_path, up_path
from snnconvert.models.spiking.blocks import (
    Joined,
    RepeatedNorm,
    SpikingAttention,
    SpikingLayer,
    SpikingResBlock,
    conv,
)
from snnconvert.models.spiking.config import SpikingUNetConfig
from snnconvert.models.unet import initialised, time_frequencies
from snnconvert.neurons.resting import RestingNode
from snnconvert.neurons.spiking import Spiking

DECAY = 0.8  # of the output membrane, which never fires


def capturing(x: Tensor) -> bool:
    """Whether the operations on `x` are being recorded as a CUDA graph, which allows no look."""
    return x.is_cuda and torch.cuda.is_current_stream_capturing()


class TimeTable(nn.Module):
    """t [B] in 0 ... diffusion_steps - 1 -> [B, 4 * channels]; between whole t the table's line.

    The table is a frozen parameter, as in SDDPM.

    Raises:
        InputError: t outside of the table.
    """

    def __init__(self, config: SpikingUNetConfig) -> None:
        super().__init__()
        width = config.channels
        steps = torch.arange(config.diffusion_steps, dtype=torch.float64)
        angles = steps[:, None] * time_frequencies(width)
        table = torch.stack([angles.sin(), angles.cos()], dim=-1).flatten(1)
        self.table = nn.Parameter(table.float(), requires_grad=False)
        self.hidden = initialised(nn.Linear(width, 4 * width))
        self.out = initialised(nn.Linear(4 * width, 4 * width))

    def forward(self, t: Tensor) -> Tensor:
        last = len(self.table) - 1
        outside = ~((t >= -0.5) & (t <= last + 0.5))  # so that NaN is outside
        if not (t.is_meta or capturing(t)) and outside.any():  # shapes alone have no times
            raise InputError(f"t: found {t[outside][0].item():g}, allowed is 0 ... {last}")
        t = t.to(torch.promote_types(t.dtype, torch.float32)).clamp(0, last)
        low = t.long()
        high = (low + 1).clamp(max=last)
        beyond = (t - low).to(self.table.dtype)[:, None]
        waves = torch.lerp(self.table[low], self.table[high], beyond)
        result: Tensor = self.out(F.silu(self.hidden(waves)))
        return result


class Stem(nn.Module):
    """Convolution and norm of the image, once; then neurons, convolution and norm of T steps."""

    def __init__(self, config: SpikingUNetConfig, inputs: int, outputs: int) -> None:
        super().__init__()
        self.timesteps = config.timesteps
        self.conv = conv(config, inputs, outputs)
        self.norm = RepeatedNorm(outputs)
        self.layer = SpikingLayer(config, outputs, outputs)

    def forward(self, x: Tensor) -> Tensor:
        current = self.conv(x, constant=True)
        if self.conv.step_scale is not None:
            result: Tensor = self.layer(self.norm(current))
            return result
        current = self.norm(current, self.timesteps)
        spikes = self.layer.neuron(current.expand(self.timesteps, *current.shape))
        return self.layer.current(spikes.flatten(0, 1))


class Tail(nn.Module):
    """[T * B, C, H, W] -> eps [B, channels, H, W]: the last potential of a leaky membrane.

    z[n] = y[n] + swish(norm(conv y[n])), y = conv(swish(norm(h))); eps = sum_n 0.8^(T-1-n) z[n].
    """

    def __init__(self, config: SpikingUNetConfig, inputs: int, outputs: int) -> None:
        super().__init__()
        self.norm = nn.BatchNorm2d(inputs)
        self.conv = conv(config, inputs, outputs, gain=1e-5)
        self.mix = initialised(nn.Conv2d(outputs, outputs, 3, padding=1))
        self.mix_norm = nn.BatchNorm2d(outputs)
        self.timesteps = config.timesteps

    def forward(self, h: Tensor) -> Tensor:
        y = self.conv(F.silu(self.norm(h)))
        z = y + F.silu(self.mix_norm(self.mix(y)))
        first, *others = z.unflatten(0, (self.timesteps, -1))
        potential: Tensor = first
        for step in others:
            potential = potential * DECAY + step
        return potential


class SpikingUNet(Spiking):
    """A denoiser: (x [B, C, H, W], t [B]) -> its prediction (eps, v or x0) [B, C, H, W].

    The spiking clock stays inside, and no potential outlives a call. H and W are any size that
    `patch` divides; t runs over 0 ... diffusion_steps - 1 and may be fractional.

    Args:
        timesteps: spiking simulation steps of a call.
        tsm: factors p per convolution and step, 1 at first; `load_pretrained` starts from a network
            without them.
        shape: further fields of `SpikingUNetConfig`.
    """

    stage = "spiking"
    config: SpikingUNetConfig

    def __init__(self, timesteps: int = 4, tsm: bool = False, **shape: Any) -> None:
        super().__init__()
        config = SpikingUNetConfig(timesteps=timesteps, tsm=tsm, **shape)
        self.config = config
        widths = [config.channels * mult for mult in config.channel_mult]
        inputs = config.in_channels * config.patch**2
        self.time_table = TimeTable(config)
        self.stem = Stem(config, inputs, widths[0])
        self.down, skips = down_path(
            widths,
            config.blocks,
            self._stage,
            lambda width: SpikingLayer(config, width, width, stride=2),
        )
        middle = [SpikingResBlock(config, widths[-1], widths[-1]) for _ in range(2)]
        self.middle = nn.ModuleList(middle)
        if config.attention:
            self.middle.insert(1, SpikingAttention(config, widths[-1]))
        self.up = up_path(
            widths,
            config.blocks,
            skips,
            self._stage,
            lambda width: SpikingLayer(config, width, width),
        )
        self.tail = Tail(config, widths[0], inputs)
        self.to(memory_format=torch.channels_last)  # norms and convolutions are faster so

    @classmethod
    def from_config(cls, config: SpikingUNetConfig) -> SpikingUNet:
        return cls(**config.to_dict())  # type: ignore[arg-type]

    @property
    def layers(self) -> dict[str, str]:
        return {n: n for n, module in self.named_modules() if isinstance(module, RestingNode)}

    @property
    def description(self) -> str:
        weight_count = sum(value.numel() for value in self.parameters())
        tsm = ", TSM" if self.config.tsm else ""
        return (
            f"{weight_count:,} weights, {self.config.neuron} neurons, "
            f"T = {self.config.timesteps}{tsm}"
        )

    def to_content(self) -> dict[str, Any]:
        return entry_of(self)

    def _with_thresholds(self, scale: float) -> SpikingUNet:
        config = replace(self.config, v_threshold=self.config.v_threshold * scale)
        scaled = SpikingUNet.from_config(config).to(self.time_table.table)
        scaled.load_state_dict(self.state_dict())
        return scaled.train(self.training)

    def _stage(self, inputs: int, outputs: int, level: int) -> nn.ModuleList:
        stage = nn.ModuleList([SpikingResBlock(self.config, inputs, outputs)])
        if level in self.config.attention:
            stage.append(SpikingAttention(self.config, outputs))
        return stage

    def forward(self, x: Tensor, t: Tensor) -> Tensor:
        patch = self.config.patch
        check_images(x, self.config.in_channels, patch)
        if t.shape != x.shape[:1]:
            raise InputError(f"t: found shape {tuple(t.shape)}, one time an image is [{len(x)}]")
        time = F.silu(self.time_table(t))  # every block takes it through this Swish
        x = F.pixel_unshuffle(x, patch) if patch > 1 else x
        h = self.stem(x.contiguous(memory_format=torch.channels_last))
        skips = [h]
        for stage in self.down:
            h = self._run(stage.children(), h, time)
            skips.append(h)
        h = self._run(self.middle, h, time)
        for stage in self.up:
            layers = list(stage.children())
            if isinstance(layers[0], SpikingResBlock):
                h = self._run(layers, Joined.apply(h, skips.pop()), time)
            else:  # to the size of the skip that comes next, so that odd sizes work
                h = self._apply_layer(layers[0], h, skips[-1].shape[-2:])
        h = self.tail(h)
        return F.pixel_shuffle(h, patch) if patch > 1 else h

    def _run(self, layers: Iterable[nn.Module], h: Tensor, time: Tensor) -> Tensor:
        """Layers in turn; residual blocks also get the time embedding."""
        for layer in layers:
            args = (time,) if isinstance(layer, SpikingResBlock) else ()
            h = self._apply_layer(layer, h, *args)
        return h

    def _apply_layer(self, layer: nn.Module, *args: Any) -> Tensor:
        result: Tensor
        if self.config.checkpointing and torch.is_grad_enabled():
            result = checkpoint(
                layer,
                *args,
                use_reentrant=False,
                context_fn=lambda: (nullcontext(), frozen_statistics(layer)),
            )
        else:
            result = layer(*args)
        return result


SIZES = ("in_channels", "channels", "channel_mult", "patch", "diffusion_steps")
MODELS.register("spiking-unet")(
    Family(SpikingUNetConfig, SpikingUNet, ("spiking",), "noise", SIZES)
)


@contextmanager
def frozen_statistics(layer: nn.Module) -> Iterator[None]:
    """Batch norms inside normalise as ever, but what they add to running statistics is dropped."""
    norms = [module for module in layer.modules() if isinstance(module, nn.BatchNorm2d)]
    kept = [(norm, name, value) for norm in norms for name, value in norm.named_buffers()]
    try:
        for norm, name, value in kept:
            setattr(norm, name, value.clone())
        yield
    finally:
        for norm, name, value in kept:
            setattr(norm, name, value)
