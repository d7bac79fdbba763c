"""The command `info`: what a file holds."""

from __future__ import annotations

import argparse

from snnconvert.cli.arguments.lazy import Commands, add_command


def add_info(commands: Commands) -> None:
    add_command(
        commands,
        "info",
        run_info,
        add_arguments,
        help="say what a checkpoint or an ONNX file holds",
    )


def add_arguments(command: argparse.ArgumentParser) -> None:
    command.add_argument("file", metavar="FILE", help="checkpoint, or an .onnx file")


def run_info(args: argparse.Namespace) -> None:
    from snnconvert.checkpoint.exported import is_exported

    if args.file.endswith(".onnx") and not is_exported(args.file):
        from snnconvert.conversion.capture.onnx.facts import describe_onnx

        print(describe_onnx(args.file))
        return
    from snnconvert.checkpoint.describe import describe_checkpoint
    from snnconvert.checkpoint.exported import open_checkpoint

    print(describe_checkpoint(open_checkpoint(args.file)))
