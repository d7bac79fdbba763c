"""Residual networks for 32 x 32 images (He et al. 2016, section 4.2), float or quantised."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from snnconvert.common.checks import set_integers
from snnconvert.errors import CheckpointError, InputError
from snnconvert.models.family import MODELS, MOST_STEPS, Family
from snnconvert.operators.clip import activation

NORMALIZATIONS = {"none": None, "imagenet": ((0.485, 0.456, 0.406), (0.229, 0.224, 0.225))}


@dataclass(frozen=True)
class ResNetConfig:
    """Shape of a residual network. The defaults are ResNet-20 (269,722 weights)."""

    in_channels: int = 3
    classes: int = 10
    channels: int = 16  # width of the first resolution
    channel_mult: tuple[int, ...] = (1, 2, 4)  # width of each resolution over `channels`
    blocks: int = 3  # residual blocks a resolution
    normalize: str = "none"  # "imagenet": takes images in [-1, 1] and brings them to its statistics
    levels: int = 0  # 0: float network with ReLU; else quantised clips
    per_channel: bool = False  # one ceiling per channel instead of per layer

    def __post_init__(self) -> None:
        object.__setattr__(self, "channel_mult", tuple(self.channel_mult))
        least = {"in_channels": 1, "classes": 1, "channels": 1, "blocks": 1, "levels": 0}
        set_integers(self, least, "ResNet ", {"levels": MOST_STEPS})
        widths = [self.channels * mult for mult in self.channel_mult]
        problems = [
            (min(widths, default=0) < 1, "channel_mult: 1 or more, at least one"),
            (sorted(widths) != widths, f"channel_mult: widths must not shrink, found {widths}"),
            (self.normalize not in NORMALIZATIONS,
             f"normalize: found {self.normalize!r}, allowed: {', '.join(NORMALIZATIONS)}"),
            (self.normalize == "imagenet" and self.in_channels != 3,
             f"normalize: imagenet needs 3 channels, found {self.in_channels}"),
        ]  # fmt: skip
        for wrong, message in problems:
            if wrong:
                raise InputError(f"ResNet {message}")

    def to_dict(self) -> dict[str, object]:
        """Plain values, for a checkpoint."""
        return {k: list(v) if isinstance(v, tuple) else v for k, v in asdict(self).items()}


class Normalize(nn.Module):
    """Images in [-1, 1] with a dataset's mean and deviation taken out; "none" passes them on."""

    shift: Tensor
    scale: Tensor

    def __init__(self, name: str) -> None:
        super().__init__()
        statistics = NORMALIZATIONS[name]
        self.active = statistics is not None
        if statistics is not None:  # ((x + 1) / 2 - mean) / std = x * scale + shift
            mean, std = (torch.tensor(values).view(-1, 1, 1) for values in statistics)
            self.register_buffer("shift", (0.5 - mean) / std, persistent=False)
            self.register_buffer("scale", 0.5 / std, persistent=False)

    def forward(self, x: Tensor) -> Tensor:
        return x * self.scale + self.shift if self.active else x


class BasicBlock(nn.Module):
    """conv-bn-act-conv-bn plus shortcut, then act.

    Where the width grows the shortcut is the original's option A: every second pixel, and zeros
    for the new channels, half before and half after the old ones. It has no weights.
    """

    def __init__(self, config: ResNetConfig, inputs: int, outputs: int, stride: int) -> None:
        super().__init__()
        self.stride, self.added = stride, outputs - inputs
        self.conv1 = nn.Conv2d(inputs, outputs, 3, stride, 1, bias=False)
        self.bn1 = nn.BatchNorm2d(outputs)
        self.act1 = activation(config.levels, outputs if config.per_channel else None)
        self.conv2 = nn.Conv2d(outputs, outputs, 3, 1, 1, bias=False)
        self.bn2 = nn.BatchNorm2d(outputs)
        self.act2 = activation(config.levels, outputs if config.per_channel else None)

    def forward(self, x: Tensor) -> Tensor:
        h = self.act1(self.bn1(self.conv1(x)))
        h = self.bn2(self.conv2(h))
        shortcut = x[:, :, :: self.stride, :: self.stride] if self.stride > 1 else x
        if self.added:
            before = self.added // 2
            shortcut = F.pad(shortcut, (0, 0, 0, 0, before, self.added - before))
        result: Tensor = self.act2(h + shortcut)
        return result


class ResNet(nn.Module):
    """[B, C, H, W] -> logits [B, classes]; 2 * blocks * resolutions + 2 layers."""

    def __init__(self, config: ResNetConfig) -> None:
        super().__init__()
        self.config = config
        width = config.channels * config.channel_mult[0]
        self.normalize = Normalize(config.normalize)
        self.conv1 = nn.Conv2d(config.in_channels, width, 3, 1, 1, bias=False)
        self.bn1 = nn.BatchNorm2d(width)
        self.act1 = activation(config.levels, width if config.per_channel else None)
        for number, mult in enumerate(config.channel_mult, 1):
            wide = config.channels * mult
            stage = nn.Sequential()
            for block in range(config.blocks):
                stride = 2 if number > 1 and block == 0 else 1
                stage.append(BasicBlock(config, width, wide, stride))
                width = wide
            self.add_module(f"layer{number}", stage)
        self.linear = nn.Linear(width, config.classes)

    def forward(self, x: Tensor) -> Tensor:
        h = self.act1(self.bn1(self.conv1(self.normalize(x))))
        for number in range(1, len(self.config.channel_mult) + 1):
            h = self.get_submodule(f"layer{number}")(h)
        result: Tensor = self.linear(h.mean((2, 3)))
        return result


def resnet20(state: Mapping[str, Any] | None = None, normalize: str = "none") -> ResNet:
    """ResNet-20, with the weights of a public checkpoint if given.

    Args:
        state: a state dict, or a dict that holds one under "state_dict"; the prefix "module." that
            `nn.DataParallel` leaves is removed.
        normalize: as in `ResNetConfig`.

    Raises:
        CheckpointError: it holds other tensors than a ResNet-20 has.
    """
    model = ResNet(ResNetConfig(normalize=normalize))
    if state is not None:
        inner = state.get("state_dict", state)
        weights = {key.removeprefix("module."): value for key, value in inner.items()}
        try:
            model.load_state_dict(weights)
        except RuntimeError as error:
            first = " ".join(line.strip() for line in str(error).splitlines()[:2])
            raise CheckpointError(f"ResNet-20: other tensors than it has: {first}") from error
    return model.eval()


SIZES = ("in_channels", "classes", "channels", "channel_mult")
MODELS.register("resnet")(
    Family(ResNetConfig, ResNet, ("ann", "qann", "qann-radix"), "classes", SIZES)
)
