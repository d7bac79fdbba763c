"""The command `sweep`: how many timesteps a wanted error needs."""

from __future__ import annotations

import argparse
from pathlib import Path

from snnconvert.cli.arguments.lazy import Commands, add_command
from snnconvert.cli.arguments.options import (
    add_conversion_options,
    add_source_arguments,
    conversion_options,
)
from snnconvert.cli.arguments.output import add_output_options, destination, say
from snnconvert.cli.arguments.progress import phases
from snnconvert.cli.arguments.quality_argument import add_quality_options, quality_of
from snnconvert.errors import InputError


def add_sweep(commands: Commands) -> None:
    add_command(
        commands,
        "sweep",
        run_sweep,
        add_arguments,
        help="measure the error over the number of timesteps and recommend one",
        description="Convert a network with several numbers of timesteps, measure how far each is "
        "from the float network on inputs that were held out, predict the rest and recommend the "
        "smallest T for a wanted error; with --against, accuracy or FID too. Writes JSON and a "
        "plot.",
    )


def add_arguments(command: argparse.ArgumentParser) -> None:
    add_source_arguments(command)
    add_conversion_options(command, several=True)
    command.add_argument("--max-error", type=float, default=0.05, metavar="ERROR",
                         help="relative error that is wanted (default 0.05)")  # fmt: skip
    add_quality_options(command)
    command.add_argument("-o", "--out", help="JSON to write, with a PNG beside it (default: "
                         "<FILE stem>.sweep.json)")  # fmt: skip
    add_output_options(command, slow=True)


def run_sweep(args: argparse.Namespace) -> None:
    from snnconvert.cli.arguments.network_argument import named_network
    from snnconvert.files.atomic import save_json
    from snnconvert.report.show.plots import plot_sweep
    from snnconvert.report.show.terminal import format_sweep
    from snnconvert.report.trials.sweep import sweep

    wanted, args.timesteps = args.timesteps, None
    source = Path(args.file or args.model or "network")
    out = destination(args, args.out or source.parent / f"{source.stem}.sweep.json")
    plot = destination(args, out.with_suffix(".png"))
    named = named_network(args)
    if named.batches is None:
        raise InputError(f"{named.name}: --data is needed: inputs to calibrate and to measure on")
    options = conversion_options(args)
    del options["timesteps"]
    with phases(args) as show:
        found = sweep(
            named.model, wanted, example_inputs=named.examples, calibration=named.batches,
            max_error=args.max_error, float_ann=named.float_ann, measures=quality_of(args, named),
            on_trial=lambda steps: show(f"T = {steps}"), **options,
        )  # fmt: skip
    save_json(found.to_dict(), out)
    plot_sweep(found.to_dict(), plot)
    say(args, f"{format_sweep(found)}\nwrote {out} and {plot}", found.to_dict())
