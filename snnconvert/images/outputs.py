"""Where generated images go: one picture, an array, or a folder that can be resumed."""

from __future__ import annotations

import json
import math
import tempfile
import zipfile
from collections.abc import Sequence
from pathlib import Path
from typing import IO, Any, Protocol

import numpy as np
import torch
from PIL import Image, UnidentifiedImageError
from torch import Tensor

from snnconvert.errors import InputError
from snnconvert.files.atomic import clear_stale, write_atomically
from snnconvert.images.pictures import write_png

LINE = 2  # white pixels between the images of a picture
SETTINGS = "settings.json"
CHUNK = 1 << 20


class Output(Protocol):
    """What `generate` writes to. Images arrive in order unless the output is shared.

    Attributes:
        shared: every process may add its own images, in any order.
    """

    shared: bool

    def missing(self, indices: Sequence[int]) -> list[int]:
        """Those of `indices` that are still to be drawn."""

    def add(self, indices: Sequence[int], pixels: Tensor) -> None:
        """Take uint8 [B, C, H, W], the images `indices`."""

    def close(self) -> None:
        """All images are there: finish the file."""


def check_channels(path: Path, channels: int) -> None:
    """InputError for images that PNG cannot hold."""
    if channels not in (1, 3):
        raise InputError(f"{path}: PNG takes 1 or 3 channels, found {channels}; write an .npz")


class GridOutput:
    """All images side by side in one PNG."""

    shared = False

    def __init__(self, path: Path, count: int, image_shape: Sequence[int]) -> None:
        check_channels(path, image_shape[0])
        self.path = path
        self.columns = math.ceil(math.sqrt(count))
        channels, self.height, self.width = image_shape
        rows = math.ceil(count / self.columns)
        size = (rows * (self.height + LINE) + LINE, self.columns * (self.width + LINE) + LINE)
        self.canvas = torch.full((channels, *size), 255, dtype=torch.uint8)

    def missing(self, indices: Sequence[int]) -> list[int]:
        return list(indices)

    def add(self, indices: Sequence[int], pixels: Tensor) -> None:
        for index, image in zip(indices, pixels, strict=True):
            row, column = divmod(index, self.columns)
            top, left = (LINE + row * (self.height + LINE), LINE + column * (self.width + LINE))
            self.canvas[:, top : top + self.height, left : left + self.width] = image

    def close(self) -> None:
        write_png(self.path, self.canvas)


class NpzOutput:
    """One array `samples`, uint8 [N, H, W, C]; only one block is in memory at a time."""

    shared = False

    def __init__(self, path: Path, count: int, image_shape: Sequence[int]) -> None:
        self.path = path
        channels, height, width = image_shape
        self.shape = (count, height, width, channels)
        self.spool = tempfile.TemporaryFile(dir=path.parent)  # noqa: SIM115  lives as long as this

    def missing(self, indices: Sequence[int]) -> list[int]:
        return list(indices)

    def add(self, indices: Sequence[int], pixels: Tensor) -> None:
        try:
            self.spool.write(pixels.permute(0, 2, 3, 1).contiguous().numpy().tobytes())
        except OSError as error:
            raise InputError(f"{self.path}: cannot be written ({error.strerror})") from error

    def close(self) -> None:
        self.spool.seek(0)
        write_atomically(self.path, self._write)
        self.spool.close()

    def _write(self, file: IO[bytes]) -> None:
        header = {"descr": "|u1", "fortran_order": False, "shape": self.shape}
        with (
            zipfile.ZipFile(file, "w", zipfile.ZIP_DEFLATED) as archive,
            archive.open("samples.npy", "w", force_zip64=True) as entry,
        ):
            np.lib.format.write_array_header_1_0(entry, header)
            while chunk := self.spool.read(CHUNK):
                entry.write(chunk)


class FolderOutput:
    """PNG files 000000.png, 000001.png, ... beside the settings that made them.

    Images that are there already and readable are kept, so that the same command goes on after an
    interruption, and a larger `-n` adds to what there is.

    Raises:
        InputError: the folder holds images of other settings, or of unknown ones.
    """

    shared = True

    def __init__(
        self, path: Path, count: int, image_shape: Sequence[int], settings: dict[str, Any]
    ) -> None:
        check_channels(path, image_shape[0])
        self.path = path
        self.mode = "L" if image_shape[0] == 1 else "RGB"
        self.size = (image_shape[2], image_shape[1])
        if path.exists() and not path.is_dir():
            raise InputError(f"{path}: is a file; choose another folder")
        if not path.parent.is_dir():
            raise InputError(f"{path}: the folder {path.parent} does not exist; create it first")
        clear_stale(path)
        self._guard({**settings, "image_shape": list(image_shape)})

    def _guard(self, settings: dict[str, Any]) -> None:
        """Leave the settings in a new folder; in an old one they must be equal."""
        file = self.path / SETTINGS
        if not file.exists():
            if self.path.is_dir() and any(self.path.glob("*.png")):
                raise InputError(
                    f"{self.path}: holds images but no {SETTINGS}, so their origin is unknown; "
                    "choose an empty folder"
                )
            try:
                self.path.mkdir(exist_ok=True)
            except OSError as error:
                raise InputError(f"{self.path}: cannot be created ({error.strerror})") from error
            text = json.dumps(settings, indent=1, sort_keys=True) + "\n"
            write_atomically(file, lambda out: out.write(text.encode()))
            return
        try:
            found = json.loads(file.read_text(encoding="utf-8"))
            keys = found.keys() | settings.keys()
        except (OSError, ValueError, AttributeError) as error:
            raise InputError(f"{file}: cannot be read; choose another folder") from error
        plain = json.loads(json.dumps(settings))
        differing = sorted(key for key in keys if found.get(key) != plain.get(key))
        if differing:
            raise InputError(
                f"{self.path}: holds images of other settings (they differ in "
                f"{', '.join(differing)}); choose another folder, or delete it"
            )

    def file(self, index: int) -> Path:
        return self.path / f"{index:06d}.png"

    def missing(self, indices: Sequence[int]) -> list[int]:
        return [index for index in indices if not self._readable(self.file(index))]

    def _readable(self, file: Path) -> bool:
        try:
            with Image.open(file) as picture:
                picture.load()
                return picture.size == self.size and picture.mode == self.mode
        except (OSError, UnidentifiedImageError, SyntaxError, ValueError):
            return False  # absent or damaged: it is drawn again

    def add(self, indices: Sequence[int], pixels: Tensor) -> None:
        for index, image in zip(indices, pixels, strict=True):
            write_png(self.file(index), image)

    def close(self) -> None:
        pass
