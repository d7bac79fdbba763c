"""Fashion-MNIST and CIFAR-10 through torchvision, downloaded where absent."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch
from torchvision import datasets

from snnconvert.errors import DataError
from snnconvert.images.datasets import DATASETS
from snnconvert.images.pixels import TensorImages, padded


def fetch_dataset(kind: type[Any], root: Path, train: bool) -> Any:
    """The torchvision dataset under `root`, downloaded there if it is not complete."""
    try:
        return kind(str(root), train=train, download=True)
    except Exception as error:  # torchvision raises whatever its mirrors and unpackers raise
        raise DataError(
            f"{kind.__name__}: not found under {root} and not downloadable "
            f"({type(error).__name__}); put torchvision's files there or set data_root"
        ) from error


@DATASETS.register("fashion-mnist")
def fashion_mnist(root: Path, image_size: int, train: bool) -> TensorImages:
    """60,000 (10,000) grey images of clothes, 28 x 28, zero-padded to `image_size`."""
    found = fetch_dataset(datasets.FashionMNIST, root, train)
    return TensorImages(padded(found.data[:, None], image_size), found.targets)


@DATASETS.register("cifar10")
def cifar10(root: Path, image_size: int, train: bool) -> TensorImages:
    """50,000 (10,000) colour images of ten classes, 32 x 32, zero-padded to `image_size`."""
    found = fetch_dataset(datasets.CIFAR10, root, train)
    pixels = torch.from_numpy(found.data).permute(0, 3, 1, 2).contiguous()
    return TensorImages(padded(pixels, image_size), torch.tensor(found.targets))
