"""What --against asks of networks: how many answers are right, or how good drawn images are."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import TYPE_CHECKING

from snnconvert.cli.arguments.lazy import add_count
from snnconvert.cli.arguments.options import add_device, check_batch_size, images_help
from snnconvert.cli.arguments.solver_options import add_solver_options
from snnconvert.common.checks import MOST, checked_integer
from snnconvert.errors import InputError

if TYPE_CHECKING:
    from snnconvert.cli.arguments.named_network import NamedNetwork
    from snnconvert.evaluation.quality import Quality

DRAWN = 1000  # images, where no number is named


def add_quality_options(command: argparse.ArgumentParser) -> None:
    """--against, -n and what goes with it; `quality_of` reads them."""
    command.add_argument(
        "--against", metavar="DATA", help="also measure the accuracy of a classifier on these "
        "labelled inputs (a data set, a folder of a folder for each class, or a .pt or .npz of "
        "inputs and labels), or the FID of a denoiser's images against statistics (.npz) or "
        f"{images_help()}",
    )  # fmt: skip
    add_count(command, f"of them (default: all that are labelled; {DRAWN} drawn)")
    command.add_argument("--dims", type=int, help="FID of 64, 192, 768 or 2048 features (default: "
                         "as --against)")  # fmt: skip
    command.add_argument("--image-size", type=int, metavar="N", help="to crop and resize a "
                         "folder's images to (default: as the network takes them)")  # fmt: skip
    command.add_argument("--batch-size", type=int, default=64, help="images at once (default 64)")
    command.add_argument("--steps", type=int, default=20, help="network evaluations an image "
                         "(default 20)")  # fmt: skip
    command.add_argument("--seed", type=int, default=0, help="of drawn images (default 0)")
    add_device(command)
    add_solver_options(command)


def quality_of(args: argparse.Namespace, named: NamedNetwork) -> dict[str, Quality]:
    """What --against asks for, by the name of its figure; {} without it.

    Raises:
        InputError, DataError: values out of range, or data that do not fit the network.
    """
    if args.against is None:
        return {}
    from snnconvert.cli.arguments.drawn import denoises

    check_batch_size(args.batch_size)
    if args.count is not None:
        checked_integer("--count", args.count, 1, MOST)
    if denoises(named):
        return fid_asked(args, named)
    return {"accuracy": accuracy_asked(args, named)}


def accuracy_asked(args: argparse.Namespace, named: NamedNetwork) -> Quality:
    from snnconvert.cli.arguments.calibration_argument import tensors_of
    from snnconvert.cli.arguments.drawn import input_shapes
    from snnconvert.evaluation.classified import labelled_images
    from snnconvert.evaluation.quality import accuracy_on_images, accuracy_on_tensors

    path = Path(args.against)
    if path.is_file():
        values = [value[: args.count] for value in tensors_of(path)]
        return accuracy_on_tensors(values, args.batch_size)
    shape = input_shapes(named)[0]
    if len(shape) != 4 or shape[2] != shape[3]:
        raise InputError(
            f"--against: {named.name} takes {list(shape)}; images fit networks of [B, C, H, H]; "
            "give a .pt or .npz file of inputs and labels"
        )
    channels, size = shape[1], args.image_size or shape[2]
    images = labelled_images(args.against, Path(args.data_root), size, channels)
    if images.channels != channels:
        raise InputError(
            f"--against: {args.against} has images of {images.channels} channels, {named.name} "
            f"takes {channels}"
        )
    return accuracy_on_images(images, args.count, batch_size=args.batch_size, mean=args.mean,
                              std=args.std)  # fmt: skip


def fid_asked(args: argparse.Namespace, named: NamedNetwork) -> dict[str, Quality]:
    from snnconvert.cli.arguments.drawn import how_drawn
    from snnconvert.diffusion.sampling import plan
    from snnconvert.evaluation.quality import fid_of_drawn
    from snnconvert.evaluation.resolve import open_reference

    solver, schedule, options = how_drawn(args, named)
    chosen = plan(solver, args.steps, schedule, **options)
    own = named.checkpoint
    shape = drawn_shape(named) if own is None else own.image_shape(named.model)
    against = open_reference(args.against, Path(args.data_root), args.image_size or shape[1])
    count = DRAWN if args.count is None else args.count
    name, quality = fid_of_drawn(
        chosen, shape, against, count=count, dims=args.dims, seed=args.seed,
        batch_size=args.batch_size, device=args.device,
    )  # fmt: skip
    return {name: quality}


def drawn_shape(named: NamedNetwork) -> tuple[int, int, int]:
    """[C, H, W] of the images that it draws. InputError where they are none."""
    from snnconvert.cli.arguments.drawn import input_shapes

    first = input_shapes(named)[0]
    if len(first) != 4:
        raise InputError(
            f"--against: {named.name} takes x {list(first)}; images are drawn by networks of "
            "(x [B, C, H, W], t [B])"
        )
    return first[1], first[2], first[3]
