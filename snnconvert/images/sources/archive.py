"""Images in an `.npz`, read from the compressed stream batch by batch."""

from __future__ import annotations

import math
import zipfile
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import IO, Any

import numpy as np
import torch
from torch import Tensor

from snnconvert.errors import DataError
from snnconvert.images.sources.interface import OnCall

KEYS = ("samples", "arr_0")  # ours, and what np.savez calls an unnamed array


class ArchiveSource:
    """uint8 images [N, H, W], [N, H, W, C] or [N, C, H, W] with C = 1 or 3.

    Raises:
        DataError: damaged, without `samples`, or not uint8 images.
    """

    def __init__(self, path: Path) -> None:
        self.path, self.name = path, str(path)
        try:
            with zipfile.ZipFile(path) as archive:
                held = [Path(n).stem for n in archive.namelist()]
                key = next((k for k in KEYS if k in held), None)
                if key is None:
                    hint = " (these are statistics, not images)" if "mu" in held else ""
                    raise DataError(
                        f"{path}: holds {', '.join(held) or 'nothing'}{hint}; images are "
                        "expected under the key samples"
                    )
                self.member = f"{key}.npy"
                with archive.open(self.member) as stream:
                    self.shape, fortran, dtype = read_header(stream)
        except DataError:
            raise
        except Exception as error:  # damaged bytes can raise nearly anything
            raise DataError(f"{path}: is no readable .npz ({error}); write it again") from error
        self.layout = layout_of(self.shape)
        if dtype != np.uint8 or fortran or self.layout is None or self.shape[0] == 0:
            raise DataError(
                f"{path}: {key} is {dtype} {list(self.shape)}; needed are uint8 images 0 ... 255, "
                "[N, H, W, C] or [N, C, H, W] in C order, C = 1 or 3, N from 1 up"
            )
        shape = self.shape
        first = 2 if self.layout == "NCHW" else 1
        self.image_size = (shape[first], shape[first + 1])
        self.channels = {"NHW": 1, "NHWC": shape[-1], "NCHW": shape[1]}[self.layout]

    def __len__(self) -> int:
        return self.shape[0]

    def batches(
        self, batch_size: int, count: int, on_call: OnCall | None = None
    ) -> Iterator[Tensor]:
        one = math.prod(self.shape[1:])
        try:
            with zipfile.ZipFile(self.path) as archive, archive.open(self.member) as stream:
                read_header(stream)
                for first in range(0, count, batch_size):
                    number = min(batch_size, count - first)
                    pixels = np.frombuffer(stream.read(number * one), dtype=np.uint8)
                    yield self.arranged(pixels.reshape(number, *self.shape[1:]))
        except (zipfile.BadZipFile, zlib.error, OSError, ValueError, EOFError) as error:
            raise DataError(f"{self.path}: is damaged ({error}); write it again") from error

    def arranged(self, pixels: np.ndarray) -> Tensor:
        """A batch as stored -> uint8 [B, C, H, W]."""
        images = torch.from_numpy(pixels.copy())
        if self.layout == "NHW":
            return images[:, None]
        return images.permute(0, 3, 1, 2) if self.layout == "NHWC" else images

    def facts(self) -> dict[str, Any]:
        return {"kind": "npz", "source": self.name, "image_size": list(self.image_size)}

    def identity(self) -> str:
        about = self.path.stat()
        return f"npz {self.path.resolve()} {about.st_size} {about.st_mtime_ns}"


def read_header(stream: IO[bytes]) -> tuple[tuple[int, ...], bool, np.dtype]:
    """(shape, Fortran order, dtype) of a `.npy` stream, left at its first number."""
    version = np.lib.format.read_magic(stream)
    if version == (1, 0):
        return np.lib.format.read_array_header_1_0(stream)
    return np.lib.format.read_array_header_2_0(stream)


def layout_of(shape: tuple[int, ...]) -> str | None:
    """Names of the axes, or None where the array cannot be images; last-axis channels first."""
    if len(shape) == 3:
        return "NHW"
    if len(shape) != 4:
        return None
    if shape[3] in (1, 3):
        return "NHWC"
    return "NCHW" if shape[1] in (1, 3) else None
