"""Image files of any depth as 8-bit pixels, grey or in colour."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import torch
from PIL import Image, UnidentifiedImageError
from torch import Tensor
from torchvision.transforms.v2 import functional as transforms

from snnconvert.errors import DataError

EIGHT_BIT = {"1", "L", "LA", "P", "PA", "RGB", "RGBA", "RGBX", "CMYK", "YCbCr", "HSV", "LAB"}
DEEP = {"I", "I;16", "I;16L", "I;16B", "I;16N", "F"}  # one channel of more than 8 bits
LARGEST = 65535  # of 16 bits
MODES = {1: "L", 3: "RGB"}  # Pillow's, by number of channels
UNREADABLE = (UnidentifiedImageError, OSError, SyntaxError, Image.DecompressionBombError)


def read_image(file: Path, channels: int = 3) -> Tensor:
    """uint8 [channels, H, W] of an image file; grey becomes colour, and colour grey.

    16-bit pixels (0 ... 65535) and floating-point ones (0 ... 1) become the nearest of 8 bits.

    Raises:
        DataError: unreadable, or pixels of another range.
    """
    try:
        with Image.open(file) as picture:
            check_mode(file, picture.mode)
            if picture.mode in DEEP:
                return shallow(file, np.asarray(picture)).expand(channels, -1, -1)
            result: Tensor = transforms.pil_to_tensor(picture.convert(MODES[channels]))
            return result
    except UNREADABLE as error:
        raise DataError(f"{file}: not a readable image ({error}); remove or repair it") from error


def check_readable(file: Path) -> None:
    """DataError for a file that `read_image` refuses; a JPEG is read to its end, but in small."""
    try:
        with Image.open(file) as picture:
            check_mode(file, picture.mode)
            picture.draft(None, (picture.width // 8, picture.height // 8))
            picture.load()
            if picture.mode in DEEP:
                shallow(file, np.asarray(picture))
    except UNREADABLE as error:
        raise DataError(f"{file}: not a readable image ({error}); remove or repair it") from error


def check_mode(file: Path, mode: str) -> None:
    """DataError for pixels that are neither of 8 bits a channel nor grey."""
    if mode not in EIGHT_BIT | DEEP:
        raise DataError(f"{file}: has pixels of mode {mode}; save it with 8 or 16 bits a channel")


def shallow(file: Path, pixels: np.ndarray) -> Tensor:
    """uint8 [1, H, W] of one deep channel."""
    values = torch.from_numpy(pixels.astype(np.float64))
    largest = 1 if pixels.dtype.kind == "f" else LARGEST
    if not bool(((values >= 0) & (values <= largest)).all()):  # not-a-number is not
        raise DataError(
            f"{file}: has pixels outside of 0 ... {largest}; save it with 8 or 16 bits a channel"
        )
    return (values * (255 / largest)).round().byte()[None]
