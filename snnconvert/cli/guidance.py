"""The command `guidance`: which firing thresholds draw the best images."""

from __future__ import annotations

import argparse

from snnconvert.checkpoint import STAGES
from snnconvert.cli.arguments.lazy import Commands, add_command, add_count
from snnconvert.cli.arguments.options import add_device, add_schedule, check_batch_size
from snnconvert.cli.arguments.output import add_output_options, destination, say
from snnconvert.cli.arguments.progress import bars
from snnconvert.cli.arguments.solver_options import add_solver_options, given_options
from snnconvert.errors import InputError

SCALES = "0.99,0.995,0.998,1,1.002,1.005,1.01"


def add_guidance(commands: Commands) -> None:
    add_command(
        commands,
        "guidance",
        run_guidance,
        add_arguments,
        help="search the threshold scale that draws the best images",
        description="Draw the same seeds with every firing threshold of a spiking network times "
        "each scale, and report the FID against the scale (threshold scaling). `sample` and "
        "`evaluate` take the best one as --threshold-scale.",
    )


def add_arguments(command: argparse.ArgumentParser) -> None:
    command.add_argument("file", metavar="FILE", help="checkpoint with a spiking network")
    command.add_argument(
        "--against", required=True, metavar="STATS", help="statistics (.npz), see `stats`"
    )
    command.add_argument("--scales", type=scales_of, default=SCALES, metavar="S,S,...",
                         help=f"factors to try (default {SCALES})")  # fmt: skip
    add_count(command, "images each (default 1000)", 1000, "--samples")
    command.add_argument("--stage", choices=STAGES, help="which network")
    command.add_argument("--steps", type=int, default=20, help="network evaluations (default 20)")
    command.add_argument("--seed", type=int, default=0, help="default 0")
    command.add_argument("--batch-size", type=int, default=32, help="images at once (default 32)")
    add_device(command)
    command.add_argument("-o", "--out", default="guidance.json", help="JSON to write "
                         "(default guidance.json)")  # fmt: skip
    command.add_argument("--plot", metavar="PNG", help="also a plot of the FID against the scale")
    add_schedule(command)
    add_solver_options(command)
    add_output_options(command, slow=True)


def scales_of(text: str) -> list[float]:
    """Numbers between commas."""
    try:
        return [float(part) for part in text.split(",")]
    except ValueError:
        raise argparse.ArgumentTypeError(f"found {text!r}, write e.g. {SCALES}") from None


def run_guidance(args: argparse.Namespace) -> None:
    from snnconvert.checkpoint.checkpoint import Checkpoint
    from snnconvert.common.hardware import checked_device
    from snnconvert.evaluation.metrics.gaussian import load_statistics
    from snnconvert.evaluation.sampled import Drawing
    from snnconvert.evaluation.scale_search import search_scale
    from snnconvert.files.atomic import save_json
    from snnconvert.generation.image_plan import image_plan
    from snnconvert.report.show.plots import plot_scale_search
    from snnconvert.report.show.scale_search import format_search

    out = destination(args, args.out)
    plot = destination(args, args.plot) if args.plot else None
    check_batch_size(args.batch_size)
    checked_device(args.device)
    if len(set(args.scales)) < 2:
        raise InputError(f"--scales: found {args.scales}, at least two different ones are needed")
    checkpoint, against = Checkpoint.read(args.file), load_statistics(args.against)
    chosen = image_plan(
        checkpoint, args.stage, solver=args.solver, steps=args.steps, grid=args.grid,
        schedule=args.schedule, **given_options(args),
    )  # fmt: skip
    found = search_scale(
        checkpoint, Drawing(chosen, args.seed, args.batch_size), against, args.scales,
        count=args.count, stage=args.stage, device=args.device, command=args.command_line,
        progress=bars(args),
    )  # fmt: skip
    save_json(found, out)
    if plot is not None:
        plot_scale_search(found, plot)
    say(args, f"{format_search(found)}\nwrote {out}{f' and {plot}' if plot else ''}", found)
