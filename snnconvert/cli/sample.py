"""The command `sample`: images drawn from a network."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import TYPE_CHECKING

from snnconvert.checkpoint import STAGES
from snnconvert.cli.arguments.lazy import Commands, add_command, add_count
from snnconvert.cli.arguments.options import (
    add_device,
    add_reset,
    add_schedule,
    add_threshold_scale,
)
from snnconvert.cli.arguments.output import add_output_options, destination, say
from snnconvert.cli.arguments.progress import bars
from snnconvert.cli.arguments.solver_options import add_solver_options, given_options

if TYPE_CHECKING:
    from torch import nn

    from snnconvert.conversion.spiking.network import SpikingNetwork


def add_sample(commands: Commands) -> None:
    add_command(
        commands,
        "sample",
        run_sample,
        add_arguments,
        help="draw images from a network",
        description="Draw images from any network of a checkpoint. Image i depends on the seed "
        "and i alone, whatever the batch size and, under torchrun, the number of processes.",
    )


def add_arguments(command: argparse.ArgumentParser) -> None:
    command.add_argument("file", metavar="FILE", help="checkpoint, or what `export` wrote")
    command.add_argument("--stage", choices=STAGES, help="which network, where it holds several")
    add_count(command, "images (default 64)", 64, "--samples")
    command.add_argument("--steps", type=int, default=20, help="network evaluations (default 20)")
    command.add_argument("--seed", type=int, default=0, help="(default 0)")
    command.add_argument("--batch-size", type=int, default=64, help="images a call (default 64)")
    add_device(command)
    command.add_argument(
        "-o",
        "--out",
        default="samples.png",
        help=".png: one picture; .npz: array samples [N, H, W, C]; else a folder of PNGs, in "
        "which the same command resumes (default samples.png)",
    )
    command.add_argument(
        "--trajectory", metavar="PNG", help="also a picture of how the first images come about"
    )
    add_reset(command, None)
    add_threshold_scale(command)
    add_schedule(command)
    add_solver_options(command)
    add_output_options(command, slow=True)


def run_sample(args: argparse.Namespace) -> None:
    from snnconvert.checkpoint.describe import describe_history, history_means
    from snnconvert.checkpoint.exported import open_checkpoint
    from snnconvert.checkpoint.networks import network_of
    from snnconvert.common.processes import open_shard
    from snnconvert.generation.image_plan import drawing_settings, image_plan
    from snnconvert.generation.job import Job, generate, open_output, trajectory
    from snnconvert.generation.threshold_scale import scale_thresholds
    from snnconvert.images.pictures import save_png
    from snnconvert.neurons.spiking import spiking

    checkpoint = open_checkpoint(args.file)
    checkpoint.schedule(args.schedule)  # a file that does not say is refused first
    stage = args.stage or checkpoint.stage
    network = network_of(checkpoint, stage)
    if args.threshold_scale != 1:
        network = scale_thresholds(network, args.threshold_scale)
    if args.reset is not None:
        network = with_reset(network, args.reset, args.file)
    watched = spiking(network)
    if watched:
        watched.keep_history()
    chosen = image_plan(
        checkpoint, stage, solver=args.solver, steps=args.steps, grid=args.grid,
        schedule=args.schedule, **given_options(args),
    )  # fmt: skip
    picture = destination(args, args.trajectory) if args.trajectory else None
    if Path(args.out).suffix:  # else a folder
        destination(args, args.out)
    shape = checkpoint.image_shape(network)
    settings = drawing_settings(checkpoint, stage, chosen, args.seed, args.threshold_scale)
    with open_shard(args.device) as shard:
        job = Job(network.to(shard.device), chosen, shape, args.count, args.seed, args.batch_size)
        output = open_output(args.out, job, settings)
        drawn = generate(job, output, shard, progress=bars(args))
        if shard.rank:
            return
        kept = f" ({args.count} images, {args.count - drawn} of them there before)"
        lines = [f"wrote {args.out}{kept if shard.size == 1 and drawn < args.count else ''}"]
        history = (watched.history if watched else None) or []
        lines += [describe_history(history)] if history else []
        if picture:
            save_png(picture, trajectory(job))
            lines.append(f"wrote {picture}")
        content = {"file": args.out, "images": args.count, "drawn": drawn, "stage": stage,
                   "solver": chosen.solver, "nfe": chosen.calls, "seed": args.seed,
                   "calls": history_means(history)}  # fmt: skip
        say(args, "\n".join(lines), content)


def with_reset(network: nn.Module, reset: str, source: str) -> SpikingNetwork:
    """The network with another `reset`; InputError for a network that does not spike."""
    from snnconvert.conversion.spiking.network import converted

    snn = converted(
        network,
        f"{source}: --reset is for converted networks, this one is {type(network).__name__}; "
        "convert it first, or choose it with --stage snn",
    )
    return snn.with_config(reset=reset)
