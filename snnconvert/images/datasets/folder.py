"""A folder of image files, decoded on demand so that memory does not grow with the folder."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from snnconvert.errors import DataError
from snnconvert.images.datasets import DATASETS

if TYPE_CHECKING:
    from torch import Tensor

    from snnconvert.images.pixels import Images

EXTENSIONS = {".png", ".jpg", ".jpeg", ".bmp", ".webp", ".gif", ".tif", ".tiff"}
HELD_OUT = 20  # one file in twenty is kept from training, for probes and calibration


class FolderImages:
    """Images of a file list, cropped to their central square and resized; RGB, or grey."""

    def __init__(
        self, files: Sequence[Path], image_size: int, labels: Tensor | None = None,
        channels: int = 3,
    ) -> None:  # fmt: skip
        self.channels = channels
        self.files = list(files)
        self.labels = labels
        self.image_size = image_size

    def __len__(self) -> int:
        return len(self.files)

    def take(self, indices: Sequence[int]) -> Tensor:
        import torch

        return torch.stack([self._read(self.files[int(index)]) for index in indices])

    def _read(self, file: Path) -> Tensor:
        from torchvision.transforms.v2 import functional as transforms

        from snnconvert.images.decoding import read_image

        picture = read_image(file, self.channels)
        square = transforms.center_crop(picture, [min(picture.shape[-2:])] * 2)
        result: Tensor = transforms.resize(square, [self.image_size] * 2, antialias=True)
        return result


@DATASETS.register("folder")
def folder(root: Path, image_size: int, train: bool) -> FolderImages:
    """Every image under `root`, sub-folders included; each twentieth is held out from training.

    Where all lie in sub-folders, these are the classes, numbered by name.
    """
    if not root.is_dir():
        raise DataError(f"data_root: {root} is not a folder")
    files = image_files(root)
    chosen = [i for i in range(len(files)) if (i % HELD_OUT == HELD_OUT - 1) != train]
    if not chosen:
        raise DataError(
            f"{root}: found {len(files)} image files, at least {HELD_OUT} are needed "
            f"({', '.join(sorted(EXTENSIONS))})"
        )
    labels = labels_of([file.relative_to(root) for file in files])
    chosen_labels = None if labels is None else labels[chosen]
    return FolderImages([files[i] for i in chosen], image_size, chosen_labels)


def image_files(root: Path) -> list[Path]:
    """Every image file under `root`, sub-folders included, in the order of their names."""
    return sorted(f for f in root.rglob("*") if f.suffix.lower() in EXTENSIONS and f.is_file())


def labels_of(files: Sequence[Path]) -> Tensor | None:
    """Number of each file's first folder among all, or None where a file lies in none."""
    import torch

    if any(len(file.parts) < 2 for file in files):
        return None
    names = sorted({file.parts[0] for file in files})
    return torch.tensor([names.index(file.parts[0]) for file in files])


def in_channels(images: Images, channels: int) -> Images:
    """The same images, a folder's grey where one channel is wanted."""
    if channels != 1 or not isinstance(images, FolderImages):
        return images
    return FolderImages(images.files, images.image_size, images.labels, 1)
