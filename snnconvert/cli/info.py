"""The command `info`: what a checkpoint holds."""

from __future__ import annotations

import argparse


def add_info(commands: argparse._SubParsersAction) -> None:
    command = commands.add_parser("info", help="say what a checkpoint holds")
    command.add_argument("file", metavar="FILE", help="checkpoint")
    command.set_defaults(run=run_info)


def run_info(args: argparse.Namespace) -> None:
    from snnconvert.checkpoint.describe import describe_checkpoint
    from snnconvert.checkpoint.format import read_checkpoint

    print(describe_checkpoint(read_checkpoint(args.file), args.file))
