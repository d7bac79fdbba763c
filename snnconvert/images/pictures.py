"""Pictures on disk."""

from __future__ import annotations

import math
from pathlib import Path

from PIL import Image
from torch import Tensor
from torchvision.utils import make_grid

from snnconvert.files.atomic import write_atomically
from snnconvert.images.pixels import to_pixels


def save_png(path: str | Path, image: Tensor) -> None:
    """Write one image [C, H, W] in [-1, 1] (one or three channels) as PNG, atomically."""
    write_png(path, to_pixels(image))


def write_png(path: str | Path, pixels: Tensor) -> None:
    """Write uint8 [C, H, W] of one or three channels as PNG, atomically."""
    last = pixels.permute(1, 2, 0).numpy()
    picture = Image.fromarray(last[..., 0] if last.shape[2] == 1 else last)
    write_atomically(path, lambda file: picture.save(file, format="PNG"))


def grid(images: Tensor) -> Tensor:
    """Images [N, C, H, W] side by side in a nearly square picture, white lines between."""
    return tile(images, math.ceil(math.sqrt(len(images))))


def tile(images: Tensor, columns: int) -> Tensor:
    """Images [N, C, H, W] row by row in a picture, white lines between."""
    result: Tensor = make_grid(images, nrow=columns, pad_value=1.0)
    return result
