"""Accuracy of a classifier's checkpoint on labelled images, from either end of a conversion."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import torch
from torch import Tensor
from tqdm import tqdm

from snnconvert.checkpoint.checkpoint import Checkpoint
from snnconvert.common.checks import checked_integer
from snnconvert.common.hardware import checked_device
from snnconvert.errors import DataError
from snnconvert.evaluation.metrics.accuracy import accuracy
from snnconvert.evaluation.sampled import simulated
from snnconvert.images.datasets import Images
from snnconvert.images.datasets.folder import FolderImages, labels_of
from snnconvert.images.pixels import to_unit_range
from snnconvert.images.sources import DatasetSource, open_source
from snnconvert.images.sources.directory import DirectorySource
from snnconvert.neurons.spiking import settings_of
from snnconvert.version import __version__


def labelled_images(data: str, data_root: Path, image_size: int) -> Images:
    """Images with labels: what `open_source` finds, a dataset or a folder of a folder per class.

    Raises:
        DataError: nothing of the kind, or images without labels.
        InputError: an unknown part of a dataset.
    """
    size = None if Path(data).suffix == ".npz" else image_size
    source = open_source(data, data_root, size)
    if isinstance(source, DatasetSource):
        images: Images = source.images
    elif isinstance(source, DirectorySource):
        inside = [file.relative_to(source.folder) for file in source.files]
        images = FolderImages(source.files, image_size, labels_of(inside))
    else:
        raise DataError(f"{data}: has no labels; name a dataset, or a folder of folders")
    if images.labels is None:
        raise DataError(
            f"{data}: has no labels; a folder needs one sub-folder a class and nothing beside them"
        )
    return images


def classified(
    checkpoint: Checkpoint, images: Images, data: str, *, count: int | None = None,
    stage: str | None = None, simulate: str | None = None, device: str = "auto",
    batch_size: int = 32, progress: bool = False,
) -> dict[str, Any]:  # fmt: skip
    """Accuracy of a checkpoint's classifier, with what it was measured on.

    Args:
        checkpoint: which a training or a conversion of one wrote.
        images: with labels; `data` names them in the result.
        count: only so many of them, the first ones; default all.
        stage: "ann", "qann" or "snn"; default the most advanced.
        simulate: of a converted network; default as in the file.

    Raises:
        InputError: `count` out of range, `simulate` for a network that does not spike.
        CheckpointError: no such stage.
    """
    if images.labels is None:
        raise DataError(f"{data}: has no labels")
    count = len(images) if count is None else count
    count = checked_integer("samples", count, 1, len(images), note=f" of {data}")
    stage, place = stage or checkpoint.stage, checked_device(device)
    network = simulated(checkpoint.network(stage), simulate, checkpoint.source).to(place)
    with tqdm(total=count, unit="image", disable=not progress) as bar:
        share = accuracy(network, batches_of(images, images.labels, count, batch_size, place, bar))
    return {
        "metric": "accuracy", "accuracy": share, "samples": count, "of": checkpoint.source,
        "stage": stage, "model": checkpoint.recipe.model, "against": data,
        "spiking": settings_of(network), "snnconvert": __version__,
    }  # fmt: skip


def batches_of(
    images: Images, labels: Tensor, count: int, batch_size: int, place: torch.device, bar: tqdm
) -> Iterator[tuple[Tensor, Tensor]]:
    """(x, labels) of the first `count` images."""
    for first in range(0, count, batch_size):
        block = range(first, min(first + batch_size, count))
        yield to_unit_range(images.take(block)).to(place), labels[block.start : block.stop]
        bar.update(len(block))
