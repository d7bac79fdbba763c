"""The command `stats`: statistics of images for the FID. Heavy imports stay inside."""

from __future__ import annotations

import argparse
from pathlib import Path

from snnconvert.cli.arguments.lazy import Commands, add_command, add_count
from snnconvert.cli.arguments.options import (
    add_device,
    add_image_options,
    check_batch_size,
    images_help,
)
from snnconvert.cli.arguments.output import add_output_options, destination, say
from snnconvert.cli.arguments.progress import bars
from snnconvert.errors import InputError


def add_stats(commands: Commands) -> None:
    add_command(
        commands,
        "stats",
        run_stats,
        add_arguments,
        help="compute the statistics of a set of images for the FID",
        description="Mean and covariance of Inception features, streamed, in the .npz of "
        "pytorch-fid. Computed once: the same images, number and feature size are cached.",
    )


def add_arguments(command: argparse.ArgumentParser) -> None:
    command.add_argument("data", metavar="DATA", help=images_help())
    command.add_argument("-o", "--out", required=True, help=".npz to write")
    command.add_argument("--dims", type=int, default=2048, help="64, 192, 768 or 2048 (default)")
    add_count(command, "only the first N images (default: all)", None, "--samples")
    command.add_argument("--batch-size", type=int, default=32, help="images at once (default 32)")
    add_device(command)
    add_image_options(command, "data")
    add_output_options(command, slow=True)


def run_stats(args: argparse.Namespace) -> None:
    from snnconvert.common.hardware import checked_device
    from snnconvert.common.warning import warn
    from snnconvert.evaluation.metrics.cache import checked_count, statistics_of
    from snnconvert.evaluation.metrics.features import Inception, check_dims
    from snnconvert.images.sources import open_source

    out = destination(args, args.out)
    if out.suffix != ".npz":
        raise InputError(f"{out}: statistics are an .npz, which pytorch-fid tells by the name")
    check_dims(args.dims)
    check_batch_size(args.batch_size)
    checked_device(args.device)
    source = open_source(args.data, Path(args.data_root), args.image_size)
    checked_count(source, args.count)
    statistics = statistics_of(
        source,
        Inception(args.dims, args.device),
        args.count,
        batch_size=args.batch_size,
        progress=bars(args),
    )
    if statistics.singular:
        warn(
            f"{statistics.count} images for {statistics.dims} features: the covariance is singular "
            "and a FID against it biased upwards"
        )
    statistics.save(out)
    height, width = statistics.image_size
    text = (
        f"wrote {out}: {statistics.count} images of {source.name}, {width} x {height}, "
        f"{statistics.dims} features, Inception {statistics.weights}"
    )
    content = {
        "file": str(out), "images": statistics.count, "source": source.name,
        "image_size": [height, width], "dims": statistics.dims, "weights": statistics.weights,
        "singular": statistics.singular,
    }  # fmt: skip
    say(args, text, content)
