"""The command `check`: everything that keeps a network from being converted."""

from __future__ import annotations

import argparse

from snnconvert.cli.arguments.lazy import Commands, add_command
from snnconvert.cli.arguments.options import add_source_arguments


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


def run_check(args: argparse.Namespace) -> int:
    from snnconvert.cli.arguments.network_argument import named_network
    from snnconvert.conversion.check import check

    named = named_network(args)
    problems = check(named.model, named.examples)
    for problem in problems:
        print(problem)
    print(f"{named.name}: {len(problems) or 'no'} problem{'s' * (len(problems) != 1)}")
    return 1 if problems else 0
