"""The command `moments`: what Analytic-DPM needs to know of a network, kept in its file."""

from __future__ import annotations

import argparse
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

from snnconvert.checkpoint import STAGES
from snnconvert.cli.arguments.options import add_schedule
from snnconvert.errors import CheckpointError, InputError

if TYPE_CHECKING:
    from torch import Tensor, nn

Batches = Callable[[int, int], Iterator["Tensor"]]  # of a size, of so many images


def add_moments(commands: argparse._SubParsersAction) -> None:
    command = commands.add_parser(
        "moments",
        help="measure what Analytic-DPM needs to know of a network",
        description="Estimate E ||eps||^2 / d of a network over noised real images and keep it in "
        "the checkpoint, for the solvers analytic-ddpm and analytic-ddim and for --grid optimal.",
    )
    command.add_argument("file", metavar="FILE", help="checkpoint; it is rewritten atomically")
    command.add_argument("--stage", choices=STAGES, help="which network, where it holds several")
    command.add_argument("--times", type=int, default=100, help="diffusion steps measured "
                         "(default 100; linear between them)")  # fmt: skip
    command.add_argument("-n", "--count", type=int, help="images (default: all)")
    command.add_argument("--data", metavar="DATA", help="images to measure on: a data set such as "
                         "cifar10, a folder, or an .npz of images (default: the training images "
                         "of the recipe where --data-root is given, else the held-out images in "
                         "the checkpoint)")  # fmt: skip
    command.add_argument("--data-root", help="where data sets lie (default data)")
    add_schedule(command)
    command.add_argument("--prediction", default="eps", help="what the network predicts: eps "
                         "(default), x0, v or x_prev")  # fmt: skip
    command.add_argument("--batch-size", type=int, default=64, help="images a call (default 64)")
    command.add_argument("--seed", type=int, default=0, help="of the noise (default 0)")
    command.add_argument("--device", default="auto", help="auto (default), cpu, cuda, cuda:0, ...")
    command.add_argument("--no-progress", dest="progress", action="store_false", help="no bar")
    command.set_defaults(run=run_moments)


def run_moments(args: argparse.Namespace) -> None:
    from tqdm import tqdm

    from snnconvert.checkpoint.content import schedule_for, schedule_hash
    from snnconvert.checkpoint.format import read_checkpoint, save_checkpoint
    from snnconvert.checkpoint.networks import network_from
    from snnconvert.common.hardware import checked_device
    from snnconvert.diffusion.moments import eps_second_moment, moment_times
    from snnconvert.diffusion.sampling import fitting
    from snnconvert.files.atomic import check_destination
    from snnconvert.images.pixels import to_unit_range

    content = read_checkpoint(args.file)
    check_destination(args.file)
    stage, device = args.stage or content["stage"], checked_device(args.device)
    schedule = schedule_for(content, args.file, args.schedule)
    times = len(moment_times(schedule, args.times))
    network = network_from(content, stage, args.file).to(device)
    held, batches, data = images_for(args, content, network)
    count = held if args.count is None else args.count
    if not 1 <= count <= held or args.batch_size < 1:
        raise InputError(
            f"count, batch size: found {count}, {args.batch_size}; allowed are 1 ... "
            f"{held} ({data}) and 1 and more"
        )
    batch_size = fitting(network, args.batch_size)
    calls = times * -(-count // batch_size)
    with tqdm(total=calls, unit="NFE", disable=not args.progress) as bar:
        curve = eps_second_moment(
            network,
            (to_unit_range(pixels).to(device) for pixels in batches(batch_size, count)),
            schedule, prediction=args.prediction, times=args.times, seed=args.seed,
            on_call=bar.update,
        )  # fmt: skip
    entry = {"eps_second_moment": curve, "images": count, "times": times, "seed": args.seed,
             "data": data, "schedule": schedule_hash(schedule),
             "prediction": args.prediction}  # fmt: skip
    content["moments"] = {**content.get("moments", {}), stage: entry}
    save_checkpoint(args.file, content)
    print(f"{stage}: eps_second_moment {curve[0]:.4f} at t = 0, {curve.max():.4f} at most")
    print(f"wrote {Path(args.file)}")


def images_for(
    args: argparse.Namespace, content: dict[str, Any], network: nn.Module
) -> tuple[int, Batches, str]:
    """How many images there are to measure on, a function that yields them, and what they are."""
    from snnconvert.checkpoint.content import denoiser_recipe_of, image_shape_of
    from snnconvert.images.sources import DatasetSource, open_source

    root = Path(args.data_root or "data")
    if args.data is not None:
        shape = image_shape_of(content, network, args.file)
        resized = shape[1] == shape[2] and not args.data.endswith(".npz")
        source = open_source(args.data, root, shape[1] if resized else None)
        found = (source.channels, *source.image_size)
        if found != shape:
            raise InputError(
                f"--data {args.data}: found images of {list(found)}, the network takes "
                f"{list(shape)} (channels, height, width)"
            )
        return len(source), source.batches, source.name
    if not content["recipe"]:
        raise CheckpointError(f"{args.file}: holds no images to measure on; give --data")
    if args.data_root is not None:
        recipe = denoiser_recipe_of(content, args.file)
        images = DatasetSource(recipe.dataset, "train", root, recipe.image_size)
        return len(images), images.batches, f"training images of {recipe.dataset}"
    pixels = content["probe"]
    if pixels is None:
        raise CheckpointError(f"{args.file}: holds no images to measure on; give --data")

    def stored(batch_size: int, count: int) -> Iterator[Tensor]:
        yield from pixels[:count].split(batch_size)

    return len(pixels), stored, "held-out images of the checkpoint"
