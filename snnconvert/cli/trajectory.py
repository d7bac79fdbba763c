"""The command `trajectory`: a converted network along a solver's path."""

from __future__ import annotations

import argparse
from typing import TYPE_CHECKING, Any, TypeAlias

from snnconvert.checkpoint import CONVERTIBLE
from snnconvert.cli.arguments.lazy import Commands, add_command, add_count
from snnconvert.cli.arguments.options import (
    add_conversion_options,
    add_device,
    add_source_arguments,
    conversion_options,
)
from snnconvert.cli.arguments.output import add_output_options, destination, say
from snnconvert.cli.arguments.solver_options import add_solver_options
from snnconvert.errors import CheckpointError, InputError

if TYPE_CHECKING:
    from torch import nn

    from snnconvert.cli.arguments.named_network import NamedNetwork
    from snnconvert.conversion.spiking.network import SpikingNetwork

Followed: TypeAlias = "tuple[nn.Module, SpikingNetwork, tuple[int, ...], dict[str, Any]]"


def add_trajectory(commands: Commands) -> None:
    add_command(
        commands,
        "trajectory",
        run_trajectory,
        add_arguments,
        help="follow a converted network along a solver's path",
        description="Convert a network (or take a converted one as it is), sample with it and with "
        "its quantised ANN from the same seeds, and report for every call: the error of the "
        "prediction, how far "
        "the images have diverged, spikes, clock steps and energy, with counts that start at zero "
        "in every call and with counts that stay from call to call (one continuous spiking run).",
    )


def add_arguments(command: argparse.ArgumentParser) -> None:
    add_source_arguments(command)
    add_count(command, "images (default 8)", 8, "--samples")
    command.add_argument("--steps", type=int, default=20, help="network evaluations (default 20)")
    command.add_argument("--seed", type=int, default=0, help="(default 0)")
    add_device(command)
    command.add_argument("-o", "--out", default="trajectory.json", help="JSON to write "
                         "(default trajectory.json)")  # fmt: skip
    command.add_argument("--plot", metavar="PNG", help="also a plot of spikes and clock steps")
    add_conversion_options(command)
    add_solver_options(command)
    add_output_options(command)


def run_trajectory(args: argparse.Namespace) -> None:
    from snnconvert.common.checks import AT_ONCE, checked_integer
    from snnconvert.files.atomic import save_json
    from snnconvert.report.show.plots import plot_trajectory
    from snnconvert.report.show.terminal import format_trajectory
    from snnconvert.report.trajectory import follow

    checked_integer("--count", args.count, 1, AT_ONCE)
    out = destination(args, args.out)
    plot = destination(args, args.plot) if args.plot else None
    qann, snn, shape, options = followed(args)
    report = follow(qann, snn, (args.count, *shape), steps=args.steps, seed=args.seed, **options)
    save_json(report, out)
    if plot is not None:
        plot_trajectory(report, plot)
    wrote = f"wrote {out}{f' and {plot}' if plot else ''}"
    say(args, f"{format_trajectory(report)}\n{wrote}", report)


def followed(args: argparse.Namespace) -> Followed:
    """The quantised ANN, the network converted from it, the shape of an image, and how to sample.

    Raises:
        InputError: as `named_network` and `how_drawn`, or a network that takes no time.
    """
    from snnconvert.cli.arguments.drawn import denoises, how_drawn, input_shapes
    from snnconvert.cli.arguments.network_argument import named_network
    from snnconvert.cli.arguments.solver_options import given_options
    from snnconvert.common.inputs import Inputs
    from snnconvert.conversion.convert import convert
    from snnconvert.conversion.spiking.network import SpikingNetwork

    named = held_converted(args) or named_network(args)
    if named.checkpoint is not None:
        drawn = how_drawn(args, named)  # refuses a classifier
        shape = named.checkpoint.sample_shape(named.model)
    else:
        if not denoises(named):
            shapes = Inputs(tuple(input_shapes(named))).words
            raise InputError(
                f"{named.name}: takes {shapes}; a solver follows networks of (x, t) that predict "
                "something of x's shape"
            )
        drawn = how_drawn(args, named)
        shape = input_shapes(named)[0][1:]
    how = drawn._asdict() | drawn.options
    del how["options"]
    if how.get("clip") is True and len(shape) != 3:  # no image, and nobody said what its range is
        how["clip"] = given_options(args).get("clip", False)
    if isinstance(named.model, SpikingNetwork):
        return named.model.quantized_ann(), named.model, shape, how
    snn = convert(
        named.model, example_inputs=named.examples, calibration=named.batches,
        share=True, **conversion_options(args),
    )  # fmt: skip
    return snn.quantized_ann() if snn.calibration else named.model, snn, shape, how


def held_converted(args: argparse.Namespace) -> NamedNetwork | None:
    """The converted network of a file that holds nothing to convert; None for any other."""
    from snnconvert.checkpoint.checkpoint import Checkpoint
    from snnconvert.checkpoint.networks import network_of
    from snnconvert.cli.arguments.named_network import NamedNetwork
    from snnconvert.cli.arguments.network_argument import is_foreign, named_device
    from snnconvert.conversion.spiking.network import converted

    if not args.file or args.model or is_foreign(args.file):
        return None
    device, checkpoint = named_device(args), Checkpoint.read(args.file)
    if any(stage in CONVERTIBLE for stage in checkpoint.stages):
        return None
    missing = f"{args.file}: holds no network to convert, and no converted one"
    snn = converted(network_of(checkpoint), missing, CheckpointError).to(device)
    return NamedNetwork(args.file, snn, None, checkpoint=checkpoint, stage=checkpoint.stage)
