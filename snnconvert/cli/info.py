"""The command `info`: what a file holds."""

from __future__ import annotations

import argparse

from snnconvert.cli.arguments.lazy import Commands, add_command
from snnconvert.cli.arguments.output import add_output_options, say


def add_info(commands: Commands) -> None:
    add_command(
        commands,
        "info",
        run_info,
        add_arguments,
        help="say what a checkpoint or an ONNX file holds",
    )


def add_arguments(command: argparse.ArgumentParser) -> None:
    command.add_argument("file", metavar="FILE", help="checkpoint, .onnx or .pt2 file")
    add_output_options(command)


def run_info(args: argparse.Namespace) -> None:
    from snnconvert.checkpoint.exported import is_exported

    if args.file.endswith(".onnx") and not is_exported(args.file):
        from snnconvert.conversion.capture.onnx.facts import describe_onnx, onnx_facts

        found = onnx_facts(args.file)
        say(args, describe_onnx(found), found)
        return
    from snnconvert.checkpoint.describe import checkpoint_facts, describe_checkpoint
    from snnconvert.checkpoint.exported import open_checkpoint

    found = checkpoint_facts(open_checkpoint(args.file))
    say(args, describe_checkpoint(found), found)
