"""Pictures on disk."""

from __future__ import annotations

import math
from pathlib import Path

from PIL import Image
from torch import Tensor
from torchvision.utils import make_grid

from snnconvert.checkpoint import write_atomically
from snnconvert.datasets.images import to_pixels


def save_png(path: str | Path, image: Tensor) -> None:
    """Write one image [C, H, W] in [-1, 1] (one or three channels) as PNG, atomically."""
    pixels = to_pixels(image).permute(1, 2, 0).numpy()
    picture = Image.fromarray(pixels[..., 0] if pixels.shape[2] == 1 else pixels)
    write_atomically(path, lambda file: picture.save(file, format="PNG"))


def grid(images: Tensor, columns: int | None = None) -> Tensor:
    """Images [N, C, H, W] side by side, nearly square unless `columns` is given."""
    nrow = math.ceil(math.sqrt(len(images))) if columns is None else columns
    return make_grid(images, nrow=nrow, pad_value=1.0)
