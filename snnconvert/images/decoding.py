"""Image files of any depth as 8-bit pixels, grey or in colour."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import torch
from PIL import Image, UnidentifiedImageError
from torch import Tensor
from torchvision.transforms.v2 import functional as transforms

from snnconvert.errors import DataError, printable

EIGHT_BIT = {"1", "L", "LA", "P", "PA", "RGB", "RGBA", "RGBX", "CMYK", "YCbCr", "HSV", "LAB"}
DEEP = {"I", "I;16", "I;16L", "I;16B", "I;16N", "F"}  # one channel of more than 8 bits
LARGEST = 65535  # of 16 bits
MODES = {1: "L", 3: "RGB"}  # Pillow's, by number of channels
ORIENTATION = 0x0112  # the EXIF tag, and what each of its values asks for
TURNS = {
    2: Image.Transpose.FLIP_LEFT_RIGHT, 3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM, 5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270, 7: Image.Transpose.TRANSVERSE, 8: Image.Transpose.ROTATE_90,
}  # fmt: skip
SIDEWAYS = {TURNS[value] for value in (5, 6, 7, 8)}  # width and height change places
HOLDING_EXIF = {"exif", "Raw profile type exif", "xmp", "XML:com.adobe.xmp"}
UNREADABLE = (UnidentifiedImageError, OSError, SyntaxError, Image.DecompressionBombError)


def read_image(file: Path, channels: int = 3) -> Tensor:
    """uint8 [channels, H, W] of an image file; grey becomes colour, and colour grey.

    16-bit pixels (0 ... 65535) and floating-point ones (0 ... 1) become the nearest of 8 bits.
    Upright, as the orientation in its EXIF says; transparency is dropped.

    Raises:
        DataError: unreadable, or pixels of another range.
    """
    try:
        with Image.open(file) as picture:
            check_mode(file, picture.mode)
            turned = turn_of(picture)
            if picture.mode in DEEP:
                pixels = shallow(file, np.asarray(upright(picture, turned)))
                return pixels.expand(channels, -1, -1)
            shown = picture.convert("RGB") if picture.mode == "LAB" else picture  # to grey by RGB
            shown = upright(shown.convert(MODES[channels]), turned)
            result: Tensor = transforms.pil_to_tensor(shown)
            return result
    except UNREADABLE as error:
        raise unreadable(file, error) from error


def check_readable(file: Path) -> None:
    """DataError for a file that `read_image` refuses; a JPEG is read to its end, but in small."""
    try:
        with Image.open(file) as picture:
            check_mode(file, picture.mode)
            picture.draft(None, (max(1, picture.width // 8), max(1, picture.height // 8)))
            picture.load()
            if picture.mode in DEEP:
                shallow(file, np.asarray(picture))
    except UNREADABLE as error:
        raise unreadable(file, error) from error


def header_size(file: Path) -> tuple[int, int]:
    """Height and width of what `read_image` gives, from the header alone; DataError likewise."""
    try:
        with Image.open(file) as picture:
            check_mode(file, picture.mode)
            width, height = picture.size
            return (width, height) if turn_of(picture) in SIDEWAYS else (height, width)
    except UNREADABLE as error:
        raise unreadable(file, error) from error


def turn_of(picture: Image.Image) -> Image.Transpose | None:
    """What brings a picture upright by its EXIF, from the header alone; a broken EXIF says nothing.

    Pillow turns TIFFs itself.
    """
    if picture.format == "TIFF" or not HOLDING_EXIF & picture.info.keys():
        return None
    try:
        return TURNS.get(picture.getexif().get(ORIENTATION, 1))
    except Exception:  # whatever Pillow's parser raises of damaged bytes: the pixels are there
        return None


def upright(picture: Image.Image, turn: Image.Transpose | None) -> Image.Image:
    return picture if turn is None else picture.transpose(turn)


def unreadable(file: Path, error: Exception) -> DataError:
    reason = f"not a readable image ({error}); remove or repair it"
    return DataError(f"{printable(file)}: {reason}")


def check_mode(file: Path, mode: str) -> None:
    """DataError for pixels that are neither of 8 bits a channel nor grey."""
    if mode not in EIGHT_BIT | DEEP:
        raise DataError(
            f"{printable(file)}: has pixels of mode {mode}; save it with 8 or 16 bits a channel"
        )


def shallow(file: Path, pixels: np.ndarray) -> Tensor:
    """uint8 [1, H, W] of one deep channel."""
    values = torch.from_numpy(pixels.astype(np.float64))
    largest = 1 if pixels.dtype.kind == "f" else LARGEST
    if not bool(((values >= 0) & (values <= largest)).all()):  # not-a-number is not
        raise DataError(
            f"{printable(file)}: has pixels outside of 0 ... {largest}; save it with 8 or 16 bits "
            "a channel"
        )
    return (values * (255 / largest)).round().byte()[None]
