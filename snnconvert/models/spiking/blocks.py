"""Blocks of the native spiking U-Net: neurons, convolution, batch norm, in this order.

Between layers a train [T, B, C, H, W] is folded to [T * B, C, H, W]: convolutions and norms see
more images, and only neurons see time. Currents, not spikes, travel along residuals and skips, so
no sum of spikes ever exceeds one (Cao et al. 2024, SDDPM, section 4.2).
"""

from __future__ import annotations

from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from snnconvert.models.spiking.config import SpikingUNetConfig
from snnconvert.models.unet import initialised
from snnconvert.neurons.resting import RestingNode


class StepConv2d(nn.Conv2d):
    """Convolution of a folded train; under TSM its output, bias included, times p[n] in step n."""

    def __init__(
        self, config: SpikingUNetConfig, inputs: int, outputs: int, size: int = 3, stride: int = 1
    ) -> None:
        super().__init__(inputs, outputs, size, stride, size // 2)
        self.timesteps = config.timesteps
        self.step_scale: nn.Parameter | None = None
        if config.tsm:
            self.step_scale = nn.Parameter(torch.ones(config.timesteps))

    def forward(self, x: Tensor, constant: bool = False) -> Tensor:
        """[T * B, C, H, W] -> [T * B, C', H', W'].

        constant: x is [B, C, H, W], the same in all steps, and so is the result without TSM.
        """
        y = super().forward(x)
        if self.step_scale is None:
            return y
        train = y[None] if constant else y.unflatten(0, (self.timesteps, -1))
        return (train * self.step_scale.view(-1, 1, 1, 1, 1).to(y.dtype)).flatten(0, 1)


def conv(
    config: SpikingUNetConfig,
    inputs: int,
    outputs: int,
    size: int = 3,
    stride: int = 1,
    gain: float = 1.0,
) -> StepConv2d:
    """Convolution with Xavier-uniform weights times `gain`, zero bias, size kept at stride 1."""
    layer = StepConv2d(config, inputs, outputs, size, stride)
    initialised(layer, gain)
    return layer


def fire(node: RestingNode, h: Tensor, timesteps: int) -> Tensor:
    """Spikes of a folded train, folded."""
    result: Tensor = node(h.unflatten(0, (timesteps, -1))).flatten(0, 1)
    return result


class SpikingLayer(nn.Module):
    """Neurons, convolution, batch norm; halves the size with `stride` 2, grows it to `size`."""

    def __init__(
        self, config: SpikingUNetConfig, inputs: int, outputs: int, size: int = 3, stride: int = 1
    ) -> None:
        super().__init__()
        self.timesteps, self.dropout = config.timesteps, config.dropout
        self.neuron = config.node()
        self.conv = conv(config, inputs, outputs, size, stride)
        self.norm = nn.BatchNorm2d(outputs)

    def forward(self, h: Tensor, size: torch.Size | None = None, drop: bool = False) -> Tensor:
        spikes = fire(self.neuron, h, self.timesteps)
        if drop and self.training and self.dropout:
            spikes = self._drop(spikes)
        if size is not None:
            spikes = F.interpolate(spikes, size=size, mode="nearest")
        return self.current(spikes)

    def current(self, spikes: Tensor) -> Tensor:
        """What the next neurons are driven with."""
        result: Tensor = self.norm(self.conv(spikes))
        return result

    def _drop(self, spikes: Tensor) -> Tensor:
        """The same neurons are silent in all steps of a call, as in spikingjelly's Dropout."""
        train = spikes.unflatten(0, (self.timesteps, -1))
        result: Tensor = (train * F.dropout(torch.ones_like(train[0]), self.dropout)).flatten(0, 1)
        return result


class SpikingResBlock(nn.Module):
    """Spiking layer, plus time, spiking layer, plus shortcut (1x1 of currents where widths differ).

    `time` is [B, 4 * channels], the same current in all steps.
    """

    def __init__(self, config: SpikingUNetConfig, inputs: int, outputs: int) -> None:
        super().__init__()
        self.timesteps = config.timesteps
        self.layer1 = SpikingLayer(config, inputs, outputs)
        self.time = initialised(nn.Linear(4 * config.channels, outputs))
        self.layer2 = SpikingLayer(config, outputs, outputs)
        self.shortcut = nn.Identity() if inputs == outputs else conv(config, inputs, outputs, 1)

    def forward(self, x: Tensor, time: Tensor) -> Tensor:
        h = self.layer1(x)
        # In place: a norm's backward pass does not need its output.
        h.unflatten(0, (self.timesteps, -1)).add_(self.time(time)[:, :, None, None])
        h = self.layer2(h, drop=True)
        result: Tensor = h.add_(self.shortcut(x))
        return result


class SpikingAttention(nn.Module):
    """Residual self-attention of spikes over pixels without softmax; [T * B, C, H, W] -> the same.

    Queries, keys and values are spikes, so the products q (k^T v) are sums of spikes; a batch norm
    takes the place of Spikformer's fixed scale (Zhou et al. 2023). SDDPM names such a layer, but
    its code does not define it.
    """

    def __init__(self, config: SpikingUNetConfig, channels: int) -> None:
        super().__init__()
        self.timesteps = config.timesteps
        self.qkv = SpikingLayer(config, channels, 3 * channels, 1)
        self.neuron = config.node()
        self.mixed_norm = nn.BatchNorm2d(channels)
        self.out = SpikingLayer(config, channels, channels, 1)

    def forward(self, x: Tensor) -> Tensor:
        spikes = fire(self.neuron, self.qkv(x), self.timesteps)
        queries, keys, values = spikes.flatten(2).chunk(3, dim=1)  # [T * B, C, HW]
        pixels, channels = queries.shape[-1], queries.shape[1]
        if pixels > channels:  # the order costs least, the sum is the same
            mixed = (values @ keys.transpose(1, 2)) @ queries
        else:
            mixed = values @ (keys.transpose(1, 2) @ queries)
        result: Tensor = self.out(self.mixed_norm(mixed.view_as(x))).add_(x)
        return result


class Joined(torch.autograd.Function):
    """Concatenation of channels whose gradients are dense: norms are slow on slices of a tensor."""

    @staticmethod
    def forward(ctx: Any, h: Tensor, skip: Tensor) -> Tensor:
        ctx.channels = h.shape[1]
        return torch.cat([h, skip], dim=1)

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor, ...]:
        last = grad.is_contiguous(memory_format=torch.channels_last)
        layout = torch.channels_last if last else torch.contiguous_format
        parts = grad[:, : ctx.channels], grad[:, ctx.channels :]
        return tuple(part.contiguous(memory_format=layout) for part in parts)


class RepeatedNorm(nn.BatchNorm2d):
    """Batch norm of an image that is the same in all T steps: [B, ...] stands for [T * B, ...].

    Mean and variance of a batch are those of its copies; only the unbiased variance that enters
    the running one differs, and is corrected.
    """

    def forward(self, x: Tensor, timesteps: int = 1) -> Tensor:
        mean, var, seen = self.running_mean, self.running_var, self.num_batches_tracked
        if not self.training or mean is None or var is None or self.momentum is None:
            return super().forward(x)
        new_var = var.clone()  # not `var` itself, which autograd would then forbid to correct
        y = F.batch_norm(x, mean, new_var, self.weight, self.bias, True, self.momentum, self.eps)
        count = x.numel() // x.shape[1]
        ratio = timesteps * (count - 1) / (timesteps * count - 1)
        with torch.no_grad():
            kept = var * (1 - self.momentum)
            var.copy_(kept + (new_var - kept) * ratio)
            if seen is not None:
                seen.add_(1)
        return y
