"""How good the images of a network are, or the classes that it tells: one call for both."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from torch import nn

from snnconvert.checkpoint.checkpoint import Checkpoint
from snnconvert.common.inputs import inputs_of
from snnconvert.common.words import counted
from snnconvert.errors import CheckpointError, DataError, InputError
from snnconvert.evaluation.classified import classified, labelled_images
from snnconvert.evaluation.fidelity import Evaluation, check_comparable, fidelity
from snnconvert.evaluation.metrics.cache import checked_count
from snnconvert.evaluation.metrics.features import Inception, check_dims
from snnconvert.evaluation.metrics.gaussian import Statistics
from snnconvert.evaluation.resolve import (
    Reference,
    checkpoint_at,
    drawn_images,
    network_images,
    open_reference,
    stored_images,
)
from snnconvert.images.sources import Source
from snnconvert.models.family import config_of

DEFAULT_DIMS = 2048
OF_CLASSIFIERS = ("stage", "simulate", "mean", "std")  # options that do not draw


def evaluate(
    source: str | Path | Checkpoint | nn.Module | Source,
    against: str | Path | Reference,
    inception: Inception | None = None,
    *,
    count: int | None = None,
    dims: int | None = None,
    score: bool = True,
    neighbours: bool = False,
    batch_size: int = 32,
    device: str = "auto",
    data_root: str | Path | None = None,
    image_size: int | None = None,
    progress: bool = False,
    command: str = "",
    **drawing: Any,
) -> Evaluation:
    """FID of what `source` draws, and what else the reference allows; accuracy of a classifier.

    Args:
        source: the file of a checkpoint, a Checkpoint, or a denoiser (x, t) -> prediction; or
            images: a data set (NAME or NAME:test), a folder, an `.npz`, an opened source.
        against: a file of statistics, or images likewise; of a classifier labelled ones.
        inception: feature network; default one of `dims` features on `device`.
        count: images to take; default 10,000 drawn, or all of those that are stored.
        dims: features: 64, 192, 768 or 2048 (default: as `against`, else 2048).
        score, neighbours, command: as `evaluation.fidelity.fidelity`.
        data_root: where data sets lie; default as the recipe says, else "data".
        image_size: of data sets, or to crop and resize a folder's images to.
        drawing: of a classifier: `stage`, `simulate`, `mean` and `std` of pixels 0 ... 1 (default
            0.5 each); of a denoiser: `stage`, `simulate`, `threshold_scale`, `seed`, and `solver`,
            `steps` (20), `grid`, `schedule` and options as `sample`.

    Raises:
        InputError: values out of range, options that do not apply, too few images.
        CheckpointError: a file that cannot be used.
        DataError: no such images, or of another size.
    """
    if isinstance(source, str | Path):
        source = checkpoint_at(source) or str(source)
    if isinstance(source, Checkpoint) and source.is_classifier:
        refuse_drawing(source, dims, drawing, neighbours)
        return accuracy_of(
            source, str(against), data_root, image_size, command, count=count, device=device,
            batch_size=batch_size, progress=progress, **drawing,
        )  # fmt: skip
    if dims is not None:
        check_dims(dims)
    images, reference = images_and_reference(
        source, against, root_of(source, data_root), image_size, count, batch_size, device, drawing
    )
    if inception is None:
        inception = inception_for(images, reference, dims, device, count, neighbours)
    return fidelity(
        images, reference, inception, count=count, score=score, neighbours=neighbours,
        batch_size=batch_size, progress=progress, command=command,
    )  # fmt: skip


def root_of(source: object, data_root: str | Path | None) -> Path:
    """Where data sets lie."""
    known = source.content["recipe"].get("data_root") if isinstance(source, Checkpoint) else None
    return Path(data_root or known or "data")


def images_and_reference(
    source: str | Checkpoint | nn.Module | Source, against: str | Path | Reference, root: Path,
    image_size: int | None, count: int | None, batch_size: int, device: str,
    drawing: dict[str, Any],
) -> tuple[Source, Reference]:  # fmt: skip
    """Images and what they are held against."""
    if isinstance(source, nn.Module):  # its images get the shape of the others
        if isinstance(against, str | Path):
            against = open_reference(against, root, image_size)
        return network_images(source, against, count, batch_size, device, **drawing), against
    if isinstance(source, Checkpoint):
        images: Source = drawn_images(source, count, batch_size, device, **drawing)
    elif isinstance(source, str):
        images = stored_images(source, root, image_size, drawing)
    elif drawing:
        raise InputError(f"{source.name}: is opened already, {next(iter(drawing))} does not apply")
    else:
        images = source
    if isinstance(against, str | Path):
        against = open_reference(against, root, image_size, images)
    return images, against


def inception_for(
    images: Source, reference: Reference, dims: int | None, device: str, count: int | None,
    neighbours: bool,
) -> Inception:  # fmt: skip
    """A feature network for both, fetched after everything else was checked."""
    dims = dims or (reference.dims if isinstance(reference, Statistics) else DEFAULT_DIMS)
    check_dims(dims)
    checked_count(images, count)
    check_comparable(images, reference, dims, neighbours)
    return Inception(dims, device)


def refuse_drawing(
    checkpoint: Checkpoint, dims: int | None, drawing: dict[str, Any], neighbours: bool
) -> None:
    """InputError for options that mean nothing to a classifier."""
    given = [name for name in drawing if name not in OF_CLASSIFIERS]
    given += ["dims"] * (dims is not None) + ["precision_recall"] * neighbours
    if given:
        option = given[0].replace("_", "-")
        raise InputError(
            f"{checkpoint.source}: is a classifier, --{option} applies to denoisers only"
        )


def image_form(checkpoint: Checkpoint) -> tuple[int, int]:
    """Channels and side of the images that a classifier takes, as trained or captured.

    Raises:
        CheckpointError: it takes no square images.
    """
    network = checkpoint.network()
    shapes = inputs_of(network).shapes
    if shapes is None:
        return config_of(network).in_channels, checkpoint.recipe.image_size
    shape = list(shapes[0]) if len(shapes) == 1 else []
    if len(shape) != 4 or shape[2] != shape[3]:
        raise CheckpointError(
            f"{checkpoint.source}: takes {checkpoint.input_shapes}; images are evaluated by "
            "networks of [B, C, H, H] (`snnconvert sweep --against FILE` takes a file of all "
            "inputs and labels)"
        )
    return shape[1], shape[2]


def accuracy_of(
    checkpoint: Checkpoint, data: str, data_root: str | Path | None, image_size: int | None,
    command: str, **choice: Any,
) -> Evaluation:  # fmt: skip
    """Share of labelled images that a classifier tells right; `choice` as `classified`."""
    channels, size = image_form(checkpoint)
    root = root_of(checkpoint, data_root)
    images = labelled_images(data, root, image_size or size, channels)
    if images.channels != channels:
        raise DataError(
            f"{data}: has images of {counted(images.channels, 'channel')}, "
            f"{checkpoint.source} takes {channels}"
        )
    return Evaluation({**classified(checkpoint, images, data, **choice), "command": command})
