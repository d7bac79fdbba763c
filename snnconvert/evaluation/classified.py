"""Accuracy of a classifier's checkpoint on labelled images, from either end of a conversion."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from tqdm import tqdm

from snnconvert.checkpoint.checkpoint import Checkpoint
from snnconvert.common.checks import checked_integer
from snnconvert.common.hardware import checked_device
from snnconvert.conversion.graph.values import leaves
from snnconvert.diffusion.sampling import allowed_batch
from snnconvert.errors import DataError, InputError
from snnconvert.evaluation.metrics.accuracy import accuracy
from snnconvert.evaluation.sampled import simulated
from snnconvert.images.datasets.folder import FolderImages, labels_of
from snnconvert.images.pixels import Images, to_unit_range
from snnconvert.images.sources import DatasetSource, open_source
from snnconvert.images.sources.directory import DirectorySource
from snnconvert.neurons.spiking import settings_of
from snnconvert.version import __version__


def labelled_images(data: str, data_root: Path, image_size: int, channels: int = 3) -> Images:
    """Images with labels: what `open_source` finds, a dataset or a folder of a folder per class.

    Args:
        channels: 1 makes a folder's images grey.

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
        images = FolderImages(source.files, image_size, labels_of(inside), channels)
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
    batch_size: int = 32, progress: bool = False, mean: Sequence[float] = (0.5,),
    std: Sequence[float] = (0.5,),
) -> dict[str, Any]:  # fmt: skip
    """Accuracy of a checkpoint's classifier, with what it was measured on.

    Args:
        checkpoint: which a training or a conversion of one wrote.
        images: with labels; `data` names them in the result.
        count: only so many of them, the first ones; default all.
        stage: "ann", "qann" or "snn"; default the most advanced.
        simulate: of a converted network; default as in the file.
        mean, std: of pixels 0 ... 1, which the network wants taken out: one, or one a channel.

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
    batch_size = allowed_batch(network, batch_size)
    with tqdm(total=count, unit="image", disable=not progress) as bar:
        pixels = batches_of(images, images.labels, count, batch_size, bar)
        batches = (([normalised(x, mean, std).to(place)], labels) for x, labels in pixels)
        share = right_share(network, batches)
    model = checkpoint.recipe.model if checkpoint.has_recipe else type(network).__name__
    return {
        "metric": "accuracy", "accuracy": share, "samples": count, "of": checkpoint.source,
        "stage": stage, "model": model, "against": data,
        "spiking": settings_of(network), "snnconvert": __version__,
    }  # fmt: skip


def right_share(network: nn.Module, batches: Iterable[tuple[Sequence[Tensor], Tensor]]) -> float:
    """Accuracy, 0 ... 1, of a classifier: pairs of all its inputs and the labels.

    Logits [B, classes] are what it returns, or the first tensor of a structure.
    """
    return accuracy(lambda inputs: leaves(network(*inputs))[0], batches)


def normalised(pixels: Tensor, mean: Sequence[float], std: Sequence[float]) -> Tensor:
    """uint8 [B, C, H, W] as a network wants them; InputError for another number of channels."""
    for name, values in (("mean", mean), ("std", std)):
        if len(values) not in (1, pixels.shape[1]):
            raise InputError(
                f"--{name}: found {len(values)} values, the images have {pixels.shape[1]} channels;"
                " give one value, or one for each channel"
            )
    if tuple(mean) == tuple(std) == (0.5,):
        return to_unit_range(pixels)
    middle, scale = (torch.tensor(values).view(-1, 1, 1) for values in (mean, std))
    return (pixels.float() / 255 - middle) / scale


def batches_of(
    images: Images, labels: Tensor, count: int, batch_size: int, bar: tqdm | None = None
) -> Iterator[tuple[Tensor, Tensor]]:
    """(pixels, labels) of the first `count` images."""
    for first in range(0, count, batch_size):
        block = range(first, min(first + batch_size, count))
        yield images.take(block), labels[block.start : block.stop]
        if bar is not None:
            bar.update(len(block))
