"""The command `trajectory`: a converted network along a solver's path."""

from __future__ import annotations

import argparse

from snnconvert.cli.arguments.lazy import Commands, add_command
from snnconvert.cli.arguments.options import (
    add_conversion_options,
    add_stage_argument,
    conversion_options,
)
from snnconvert.cli.arguments.solver_options import add_solver_options, given_options


def add_trajectory(commands: Commands) -> None:
    add_command(
        commands,
        "trajectory",
        run_trajectory,
        add_arguments,
        help="follow a converted network along a solver's path",
        description="Convert the network of a checkpoint, sample with it and with its quantised "
        "ANN from the same seeds, and report for every call: the error of the prediction, how far "
        "the images have diverged, spikes, clock steps and energy, with counts that start at zero "
        "in every call and with counts that stay from call to call (one continuous spiking run).",
    )


def add_arguments(command: argparse.ArgumentParser) -> None:
    command.add_argument("file", metavar="FILE", help="checkpoint with a network to convert")
    add_stage_argument(command)
    command.add_argument("-n", "--count", type=int, default=8, help="images (default 8)")
    command.add_argument("--steps", type=int, default=20, help="network evaluations (default 20)")
    command.add_argument("--seed", type=int, default=0, help="(default 0)")
    command.add_argument("-o", "--out", default="trajectory.json", help="JSON to write "
                         "(default trajectory.json)")  # fmt: skip
    command.add_argument("--plot", metavar="PNG", help="also a plot of spikes and clock steps")
    add_conversion_options(command)
    add_solver_options(command)


def run_trajectory(args: argparse.Namespace) -> None:
    from snnconvert.checkpoint.checkpoint import Checkpoint
    from snnconvert.cli.arguments.network_argument import checkpoint_network, wanted_levels
    from snnconvert.conversion.convert import convert
    from snnconvert.files.atomic import check_destination, save_json
    from snnconvert.generation.image_plan import checkpoint_options
    from snnconvert.report.show.plots import plot_trajectory
    from snnconvert.report.show.terminal import format_trajectory
    from snnconvert.report.trajectory import follow

    checkpoint = Checkpoint.read(args.file)
    named = checkpoint_network(checkpoint, args.stage, wanted_levels(args))
    schedule = checkpoint.schedule()
    out = check_destination(args.out)
    plot = check_destination(args.plot) if args.plot else None
    options = checkpoint_options(checkpoint, named.stage, args.solver, args.grid, None,
                                 given_options(args))  # fmt: skip
    snn = convert(
        named.model, example_inputs=named.examples, calibration=named.batches,
        share=True, **conversion_options(args),
    )  # fmt: skip
    qann = snn.quantized_ann() if snn.calibration else named.model
    shape = (args.count, *checkpoint.image_shape(named.model))
    report = follow(
        qann, snn, shape, solver=args.solver, steps=args.steps, schedule=schedule,
        seed=args.seed, grid=args.grid, **options,
    )  # fmt: skip
    save_json(report, out)
    if plot is not None:
        plot_trajectory(report, plot)
    print(format_trajectory(report))
    print(f"wrote {out}{f' and {plot}' if plot else ''}")
