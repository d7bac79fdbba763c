"""The command `verify`: whether every spike count is the quantiser's integer."""

from __future__ import annotations

import argparse

from snnconvert.cli.arguments.lazy import Commands, add_command
from snnconvert.cli.arguments.options import add_device, add_source_arguments
from snnconvert.cli.arguments.output import add_output_options, say
from snnconvert.cli.arguments.progress import counted, phases


def add_verify(commands: Commands) -> None:
    add_command(
        commands,
        "verify",
        run_verify,
        add_arguments,
        help="exit 0 only if every spike count equals the quantised network's integer",
        description="Run a converted network and its quantised ANN on the same inputs and compare "
        "every spike count. Exit code 0: all are equal (or within --tolerance); 1: some are not, "
        "and which; 2: bad input. It proves what it says for these inputs and this machine.",
    )


def add_arguments(command: argparse.ArgumentParser) -> None:
    add_source_arguments(command)
    command.add_argument("snn", metavar="SNN", nargs="?", help="what `convert` made of FILE")
    command.add_argument("--tolerance", type=int, default=0, metavar="SPIKES",
                         help="by which a count may differ (default 0)")  # fmt: skip
    add_device(command)
    add_output_options(command, slow=True)


def run_verify(args: argparse.Namespace) -> int:
    from snnconvert.cli.arguments.network_argument import ann_and_snn
    from snnconvert.report.show.certificate import format_verification
    from snnconvert.report.verify import verify

    named, snn, _ = ann_and_snn(args)
    inputs = named.batches or [named.examples]
    with phases(args) as show:
        found = verify(named.model, snn, counted(inputs, show, "spike counts"),
                       tolerance=args.tolerance)  # fmt: skip
    say(args, format_verification(found), found.to_dict())
    return 0 if found else 1
