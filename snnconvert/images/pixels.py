"""The one interface of all image sources, and the conversions every source needs."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

import torch
from torch import Tensor

from snnconvert.errors import DataError

UNIT_RANGE = (-1.0, 1.0)  # of the images that networks see


class Images(Protocol):
    """A finite list of equally sized images.

    `labels` are integers [N] from 0 up, None where there are none.
    """

    channels: int
    labels: Tensor | None

    def __len__(self) -> int: ...

    def take(self, indices: Sequence[int]) -> Tensor:
        """uint8 [B, C, H, W] of the images at `indices`."""


class TensorImages:
    """Images held in memory: uint8 [N, C, H, W], and their labels [N] where they have some."""

    def __init__(self, pixels: Tensor, labels: Tensor | None = None) -> None:
        self.pixels = pixels
        self.labels = labels
        self.channels = pixels.shape[1]

    def __len__(self) -> int:
        return len(self.pixels)

    def take(self, indices: Sequence[int]) -> Tensor:
        return self.pixels[torch.as_tensor(indices, device=self.pixels.device)]

    def to(self, device: torch.device) -> TensorImages:
        """The same images, kept on `device`."""
        return TensorImages(self.pixels.to(device), self.labels)


def padded(pixels: Tensor, image_size: int) -> Tensor:
    """Zeros around images [N, C, H, W] up to `image_size`; DataError if they are larger."""
    gap = image_size - pixels.shape[-1]
    if gap < 0:
        raise DataError(
            f"image_size: found {image_size}, this dataset needs {pixels.shape[-1]} or more"
        )
    return torch.nn.functional.pad(pixels, (gap // 2, gap - gap // 2) * 2)


def to_unit_range(pixels: Tensor) -> Tensor:
    """uint8 0 ... 255 -> float32 -1 ... 1."""
    return to_range(pixels, UNIT_RANGE)


def to_range(pixels: Tensor, data_range: tuple[float, float]) -> Tensor:
    """uint8 0 ... 255 -> float32 low ... high."""
    low, high = data_range
    return pixels.float().div_(255 / (high - low)).add_(low)


def in_unit_range(images: Tensor, data_range: tuple[float, float]) -> Tensor:
    """float low ... high -> float -1 ... 1, what pictures are made of; nothing is clipped."""
    low, high = data_range
    return images if data_range == UNIT_RANGE else (images - low) * (2 / (high - low)) - 1


def to_pixels(images: Tensor, data_range: tuple[float, float] = UNIT_RANGE) -> Tensor:
    """float low ... high (clipped) -> uint8 0 ... 255, rounded; inverse of `to_range`."""
    low, high = data_range
    return images.clamp(low, high).sub(low).mul_(255 / (high - low)).round_().to(torch.uint8)
