"""Fashion-MNIST and CIFAR-10 through torchvision, downloaded where absent."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from snnconvert.errors import DataError
from snnconvert.images.datasets import DATASETS

if TYPE_CHECKING:
    from snnconvert.images.pixels import TensorImages


def fetch_dataset(name: str, root: Path, train: bool) -> Any:
    """The torchvision dataset `name` under `root`, downloaded there if it is not complete."""
    from torchvision import datasets

    try:
        return getattr(datasets, name)(str(root), train=train, download=True)
    except Exception as error:  # torchvision raises whatever its mirrors and unpackers raise
        raise DataError(
            f"{name}: not found under {root} and not downloadable "
            f"({type(error).__name__}); put torchvision's files there or set data_root"
        ) from error


@DATASETS.register("fashion-mnist")
def fashion_mnist(root: Path, image_size: int, train: bool) -> TensorImages:
    """60,000 (10,000) grey images of clothes, 28 x 28, zero-padded to `image_size`."""
    from snnconvert.images.pixels import TensorImages, padded

    found = fetch_dataset("FashionMNIST", root, train)
    return TensorImages(padded(found.data[:, None], image_size), found.targets)


@DATASETS.register("cifar10")
def cifar10(root: Path, image_size: int, train: bool) -> TensorImages:
    """50,000 (10,000) colour images of ten classes, 32 x 32, zero-padded to `image_size`."""
    import torch

    from snnconvert.images.pixels import TensorImages, padded

    found = fetch_dataset("CIFAR10", root, train)
    pixels = torch.from_numpy(found.data).permute(0, 3, 1, 2).contiguous()
    return TensorImages(padded(pixels, image_size), torch.tensor(found.targets))
