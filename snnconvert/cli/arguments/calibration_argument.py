"""Inputs to calibrate on, from command-line arguments."""

from __future__ import annotations

import argparse
import os
import zipfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from snnconvert.cli.arguments.named_network import NamedNetwork
from snnconvert.common.checks import MOST, checked_integer
from snnconvert.common.inputs import Inputs, KnowsInputs, inputs_of
from snnconvert.diffusion.noising import noised as noise_data
from snnconvert.diffusion.schedule import Schedule, named_schedule
from snnconvert.diffusion.times import Range
from snnconvert.errors import InputError
from snnconvert.files.tensors import read_file
from snnconvert.images.datasets import DATASETS
from snnconvert.images.datasets.folder import in_channels
from snnconvert.images.pixels import to_unit_range

EXAMPLES = 2  # inputs of a file that serve to capture a network
BATCH = 32  # small enough for networks whose own code does something else with large batches


def calibration_batches(args: argparse.Namespace, named: NamedNetwork) -> Iterator[Any]:
    """Batches of real inputs from `--calibrate`.

    Raises:
        InputError: no tensors, images of another size, or no inputs at all.
    """
    path, count = Path(args.calibrate), args.calibration_inputs
    checked_integer("--calibration-inputs", count, 1, MOST)
    schedule = noise_of(args, named)
    if path.is_file():
        values = [value[:count] for value in tensors_of(path)]
    else:
        refuse_absent(args.calibrate)
        channels, size = image_size(named, schedule is not None)
        values = [calibration_images(args, path, size, channels, count)]
    if schedule is not None and lacks_times(values, named):
        values = noised_values(values, named, args, schedule)
    if named.examples is None and not isinstance(named.model, KnowsInputs):
        named.examples = tuple(value[:EXAMPLES] for value in values)
    fixed = inputs_of(named.model).fixed_batch
    if fixed is not None:  # whole batches only
        if len(values[0]) < fixed:
            raise InputError(
                f"--calibrate: found {len(values[0])} inputs, the network was exported for batches "
                f"of exactly {fixed}; give as many or more, or export it with a dynamic batch "
                "(torch.export.export(..., dynamic_shapes=...))"
            )
        values = [value[: len(value) // fixed * fixed] for value in values]
    yield from zip(*(value.split(fixed or BATCH) for value in values), strict=True)


def lacks_times(values: list[Tensor], named: NamedNetwork) -> bool:
    """Whether tensors to calibrate a denoiser on are clean data, with all inputs but the times.

    Raises:
        InputError: they are neither that nor all inputs, or the network takes no time.
    """
    takes = len(inputs_of(named.model).shapes or named.examples or ()) or max(2, len(values))
    if takes == 1:
        raise InputError("--schedule: the network takes one input, so no time; leave it out")
    if len(values) not in (takes - 1, takes):
        raise InputError(
            f"--calibrate: found {len(values)} tensors for a network of {takes} inputs; give clean "
            f"data and what belongs to it, all but the times ({takes - 1}), or noised data and all "
            f"other inputs ({takes})"
        )
    return len(values) == takes - 1


def noised_values(
    values: list[Tensor], named: NamedNetwork, args: argparse.Namespace, schedule: Schedule
) -> list[Tensor]:
    """(x_t, t, what else there is) of clean data and of what belongs to it row by row."""
    clean, named.data_range = clean_data(values[0], named, args)
    x, t, *others = together(
        (clean, *values[1:]), schedule, args.t_range or named.known.get("t_range")
    )
    if named.examples is not None:
        like = named.examples[1]
        t = t.to(like.dtype).view(-1, *like.shape[1:])
    return [x, t, *others]


def noise_of(args: argparse.Namespace, named: NamedNetwork) -> Schedule | None:
    """The noise to put on clean images, for a denoiser; None for any other network."""
    checkpoint = named.checkpoint
    if checkpoint is None:
        known: Schedule | None = named.known.get("schedule")
        return known if args.schedule is None else named_schedule(args.schedule)
    if args.schedule is None and checkpoint.recipe.family.task != "noise":
        return None
    return checkpoint.schedule(args.schedule)


def tensors_of(path: Path) -> list[Tensor]:
    """The tensors in a .pt or .npz file, one for each input of a network."""
    content = arrays_of(path) if path.suffix == ".npz" else read_file(path)
    values = [content] if isinstance(content, Tensor) else content
    if not isinstance(values, (list, tuple)) or not all(
        isinstance(value, Tensor) and value.ndim for value in values
    ):
        raise InputError(f"{path}: needed is a tensor, or a tuple of tensors, batch first")
    if len({len(value) for value in values}) != 1:
        raise InputError(f"{path}: holds batches of {[len(v) for v in values]} inputs, or none")
    return list(values)


def arrays_of(path: Path) -> list[Tensor]:
    """The arrays in an .npz file, in the order in which they were saved."""
    try:
        with np.load(path, allow_pickle=False) as archive:
            return [torch.from_numpy(archive[name]) for name in archive.files]
    except (ValueError, TypeError, OSError, EOFError, zipfile.BadZipFile, KeyError) as error:
        raise InputError(f"{path}: is no readable .npz of numbers ({error})") from error


def refuse_absent(named: str) -> None:
    """InputError where what is named is a path, and nothing lies there."""
    path = Path(named)
    if not path.exists() and (len(path.parts) > 1 or path.suffix or named.endswith(os.sep)):
        known = ", ".join(name for name in DATASETS if name != "folder")
        raise InputError(
            f"--calibrate: {named} is not there; allowed are a .pt or .npz file, a folder of "
            f"images, or a data set: {known}"
        )


def calibration_images(
    args: argparse.Namespace, path: Path, size: int, channels: int, count: int
) -> Tensor:
    """At most `count` normalised training images [N, C, size, size], drawn at random."""
    if path.is_dir():
        images = in_channels(DATASETS["folder"](path, size, True), channels)
    else:
        images = DATASETS[args.calibrate](Path(args.data_root), size, True)
    order = torch.randperm(len(images), generator=torch.Generator().manual_seed(0))[:count]
    for option, values in (("--mean", args.mean), ("--std", args.std)):
        if len(values) not in (1, images.channels):
            raise InputError(
                f"{option}: found {len(values)} values, the images have {images.channels} channels;"
                " give one value, or one for each channel"
            )
    mean, std = torch.tensor(args.mean).view(-1, 1, 1), torch.tensor(args.std).view(-1, 1, 1)
    return (images.take(order.tolist()).float() / 255 - mean) / std


def noised(images: Tensor, size: int, schedule: Schedule) -> tuple[Tensor, Tensor]:
    """(x_t, t) of clean images in [-1, 1], shuffled; t spread evenly over the whole diffusion.

    Raises:
        InputError: images of another size than the network's.
    """
    x, t = together((clean_images(images, size),), schedule)
    return x, t


def together(
    data: tuple[Tensor, ...], schedule: Schedule, t_range: Range | None = None
) -> list[Tensor]:
    """x_t, t and what else belongs to clean data: an input of each image, and of vectors more."""
    count = len(data[0]) if data[0].ndim == 4 else None
    batches = noise_data(data, schedule, inputs=count, t_range=t_range)
    return [torch.cat(parts) for parts in zip(*batches, strict=True)]


def clean_data(
    values: Tensor, named: NamedNetwork, args: argparse.Namespace
) -> tuple[Tensor, tuple[float, float]]:
    """Clean vectors or images as the network takes them, and the range (low, high) of all such."""
    shapes = inputs_of(named.model).shapes or [value.shape for value in named.examples or ()]
    if values.ndim == 2 and values.is_floating_point():
        if shapes and list(shapes[0][1:]) != list(values.shape[1:]):
            raise InputError(
                f"--calibrate: found clean data {list(values.shape)}, the network takes "
                f"[N, {', '.join(map(str, shapes[0][1:]))}]"
            )
        return values.float(), (float(values.min()), float(values.max()))
    size = image_size(named, True)[1] if shapes or named.checkpoint else values.shape[-1]
    images = clean_images(values, size)
    mean, std = torch.tensor(args.mean), torch.tensor(args.std)
    low, high = float((-mean / std).min()), float(((1 - mean) / std).max())
    return images, (min(low, float(images.min())), max(high, float(images.max())))


def clean_images(images: Tensor, size: int) -> Tensor:
    """Images in floating point, bytes as -1 ... 1; InputError where they are of another size."""
    if images.ndim != 4 or tuple(images.shape[2:]) != (size, size):
        raise InputError(
            f"--calibrate: found clean images {list(images.shape)}, the network takes "
            f"[N, C, {size}, {size}] (or give a .pt file with a tuple of tensors, one per input)"
        )
    if images.dtype == torch.uint8:
        images = to_unit_range(images)
    if not images.is_floating_point():
        raise InputError(
            f"--calibrate: found images of {images.dtype}, allowed are uint8 0 ... 255 and "
            "floating point -1 ... 1"
        )
    return images.float()


def image_size(named: NamedNetwork, noisy: bool) -> tuple[int, int]:
    """Channels and side of the square images that the network takes, with a time each if `noisy`.

    Raises:
        InputError: it takes something else.
    """
    examples = [value.shape for value in named.examples or ()]
    shapes = [list(shape) for shape in inputs_of(named.model).shapes or examples]
    square = bool(shapes) and len(shapes[0]) == 4 and shapes[0][2] == shapes[0][3]
    takes = Inputs(tuple(map(tuple, shapes)))
    timed = takes.has_time
    if not square or not (timed if noisy else len(shapes) == 1):
        raise InputError(
            f"--calibrate: found a network of inputs {takes.words}; images fit networks whose only "
            "input is [B, C, H, H], or, with --schedule, denoisers of x [B, C, H, H] and t [B]; "
            "give a .pt file with a tuple of tensors, one per input"
        )
    return shapes[0][1], shapes[0][2]
