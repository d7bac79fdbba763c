"""The command `check`: everything that keeps a network from being converted."""

from __future__ import annotations

import argparse
from dataclasses import asdict

from snnconvert.cli.arguments.lazy import Commands, add_command
from snnconvert.cli.arguments.options import add_source_arguments
from snnconvert.cli.arguments.output import add_output_options, say


def add_check(commands: Commands) -> None:
    add_command(
        commands,
        "check",
        run_check,
        add_arguments,
        help="list everything that keeps a network from being converted",
        description="List every operation of a network that cannot be converted, with layer, "
        "reason and remedy. Exit code 0: there is none; 1: there are; 2: bad input.",
    )


def add_arguments(command: argparse.ArgumentParser) -> None:
    add_source_arguments(command)
    add_output_options(command)


def run_check(args: argparse.Namespace) -> int:
    from snnconvert.cli.arguments.network_argument import named_network
    from snnconvert.conversion.check import check

    named = named_network(args)
    problems = check(named.model, named.examples)
    lines = [*map(str, problems), f"{named.name}: {len(problems) or 'no'} problem"
             f"{'s' * (len(problems) != 1)}"]  # fmt: skip
    found = {"network": named.name, "problems": [asdict(problem) for problem in problems]}
    say(args, "\n".join(lines), found)
    return 1 if problems else 0
