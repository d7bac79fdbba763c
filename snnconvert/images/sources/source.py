"""A source of images by the name that a user gives.

A source yields batches in order, so that nothing has to be held in memory.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from torch import Tensor

from snnconvert.common.checks import checked_integer
from snnconvert.common.registry import nearest
from snnconvert.errors import DataError, InputError
from snnconvert.images.datasets import DATASETS
from snnconvert.images.datasets.folder import in_channels
from snnconvert.images.sources.archive import ArchiveSource
from snnconvert.images.sources.directory import DirectorySource
from snnconvert.images.sources.interface import OnCall, StoredSource

IMAGE_SIZE = 32  # of datasets, as in a recipe that does not say
SAMPLED = 16  # images of a dataset that stand for all of it in its identity


class DatasetSource:
    """A registered dataset; `part` is "train" or "test"; a folder's images in so many channels."""

    def __init__(
        self, dataset: str, part: str, root: Path, image_size: int, channels: int = 3
    ) -> None:
        self.images = in_channels(DATASETS[dataset](root, image_size, part == "train"), channels)
        self.name = f"{dataset}:{part}"
        self.channels = self.images.channels
        self.image_size = (image_size, image_size)

    def __len__(self) -> int:
        return len(self.images)

    def batches(
        self, batch_size: int, count: int, on_call: OnCall | None = None
    ) -> Iterator[Tensor]:
        for first in range(0, count, batch_size):
            yield self.images.take(range(first, min(first + batch_size, count)))

    def facts(self) -> dict[str, Any]:
        return {"kind": "dataset", "source": self.name, "image_size": list(self.image_size)}

    def identity(self) -> str:
        sample = self.images.take(range(min(SAMPLED, len(self))))
        content = hashlib.sha256(sample.contiguous().numpy().tobytes()).hexdigest()
        return f"dataset {self.name} {self.image_size} {len(self)} {content}"


def open_source(
    data: str, data_root: Path, image_size: int | None = None, channels: int = 3
) -> StoredSource:
    """The images that `data` names.

    Args:
        data: a registered dataset, `NAME` (its training images) or `NAME:test`; else a folder of
            images; else an `.npz` of uint8 images.
        data_root: where torchvision keeps its files.
        image_size: of datasets default 32 (they are padded); folders keep their own size, or are
            cropped to squares and resized to this one.
        channels: 1 makes a folder's images grey; others have channels of their own.

    Raises:
        DataError: nothing of the kind, an empty folder, images of mixed sizes.
        InputError: an unknown part of a dataset, or a size for an `.npz`.
    """
    if image_size is not None:
        image_size = checked_integer("image_size", image_size, 1)
    name, colon, part = data.partition(":")
    if name in DATASETS and name != "folder":
        if colon and part not in ("train", "test"):
            raise InputError(
                f"{data}: found part {part!r}, allowed are {name}:train and {name}:test"
            )
        return DatasetSource(name, part or "train", data_root, image_size or IMAGE_SIZE)
    path = Path(data)
    if path.is_dir():
        return DirectorySource(path, image_size, channels)
    if path.suffix == ".npz" and path.is_file():
        if image_size is not None:
            raise InputError(f"{data}: the images of an .npz are not resized; leave image_size out")
        return ArchiveSource(path)
    names = sorted(set(DATASETS) - {"folder"})
    raise DataError(
        f"{data}: is no dataset ({nearest(data, names)}available: {', '.join(names)}), "
        "no folder of images and no .npz"
    )
