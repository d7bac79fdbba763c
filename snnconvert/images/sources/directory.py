"""Every image of a folder as it is, decoded on demand."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from snnconvert.errors import DataError
from snnconvert.images.datasets.folder import EXTENSIONS, FolderImages, image_files
from snnconvert.images.decoding import header_size, read_image
from snnconvert.images.sources.interface import OnCall


class DirectorySource:
    """Images under `folder`, sub-folders included, in the order of their names.

    Args:
        folder: where they are.
        image_size: None keeps the size of the files, which must then all be equal; a number crops
            every image to its central square and resizes it, as in training.
        channels: 3 (colour) or 1 (grey).

    Raises:
        DataError: no images, one that is unreadable or mixed sizes.
    """

    def __init__(self, folder: Path, image_size: int | None, channels: int = 3) -> None:
        self.channels = channels
        self.name = str(folder)
        self.folder = folder
        self.files = image_files(folder)
        if not self.files:
            kinds = ", ".join(sorted(EXTENSIONS))
            raise DataError(f"{folder}: holds no images ({kinds}); name another folder")
        self.resized = image_size is not None
        found = header_sizes(self.files)
        if image_size is not None:
            self.image_size = (image_size, image_size)
            return
        self.image_size = next(iter(found))
        if len(found) > 1:
            shown = "; ".join(f"{w} x {h}: {file.name}" for (h, w), file in list(found.items())[:3])
            raise DataError(
                f"{folder}: images of {len(found)} sizes ({shown}); make them equal, or give "
                "--image-size N to crop and resize them all"
            )

    def __len__(self) -> int:
        return len(self.files)

    def batches(
        self, batch_size: int, count: int, on_call: OnCall | None = None
    ) -> Iterator[Tensor]:
        resizer = FolderImages(self.files, self.image_size[0], channels=self.channels)
        for first in range(0, count, batch_size):
            chosen = range(first, min(first + batch_size, count))
            if self.resized:
                yield resizer.take(chosen)
            else:
                yield torch.stack([read_image(self.files[i], self.channels) for i in chosen])

    def facts(self) -> dict[str, Any]:
        size = list(self.image_size)
        return {"kind": "folder", "source": self.name, "image_size": size, "resized": self.resized}

    def identity(self) -> str:
        listing = hashlib.sha256()
        for file in self.files:
            about = file.stat()
            name = file.relative_to(self.folder)
            listing.update(f"{name}\0{about.st_size}\0{about.st_mtime_ns}\n".encode())
        size = self.image_size if self.resized else "as is"
        grey = " grey" if self.channels == 1 else ""
        return f"folder {self.folder.resolve()} {size}{grey} {listing.hexdigest()}"


def header_sizes(files: list[Path]) -> dict[tuple[int, int], Path]:
    """(height, width) -> first file of that size, from the headers alone."""
    sizes: dict[tuple[int, int], Path] = {}
    for file in files:
        sizes.setdefault(header_size(file), file)
    return sizes
