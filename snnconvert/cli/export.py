"""The command `export`: a converted network as an ONNX file."""

from __future__ import annotations

import argparse
from typing import TYPE_CHECKING

from snnconvert.checkpoint import STAGES
from snnconvert.cli.arguments.lazy import Commands, add_command, add_count, listed
from snnconvert.cli.arguments.output import add_output_options, destination, say
from snnconvert.common.checks import MOST, checked_integer
from snnconvert.errors import CheckpointError

if TYPE_CHECKING:
    from torch import nn

    from snnconvert.checkpoint.checkpoint import Checkpoint


def add_export(commands: Commands) -> None:
    add_command(
        commands,
        "export",
        run_export,
        add_arguments,
        help="write a converted network as ONNX, checked in onnxruntime",
        description="Write a converted network as an ONNX file of standard operations. The file is "
        "run by onnxruntime and compared with the network before it is written; `sample`, "
        "`evaluate` and `info` take it as they take a checkpoint.",
    )


def add_arguments(command: argparse.ArgumentParser) -> None:
    from snnconvert.checkpoint.exported_facts import FORMS
    from snnconvert.exchange.parity import TOLERANCE

    command.add_argument("file", metavar="FILE", help="what `convert` wrote, or a checkpoint with "
                         "a quantised network")  # fmt: skip
    command.add_argument("out", metavar="OUT", help="file to write: .onnx")
    command.add_argument("--form", default=FORMS[0], help=f"{listed(FORMS)}: one pass over counts "
                         "(default), one time step with counts as inputs and outputs, or the loop "
                         "over all steps")  # fmt: skip
    command.add_argument("--stage", choices=STAGES, help="which network, where FILE holds several")
    add_count(command, "held-out inputs of FILE to compare on (default 32)", 32, "--samples")
    command.add_argument("--tolerance", type=float, default=TOLERANCE,
                         help="largest relative error of a sample without a float tie (default "
                         f"{TOLERANCE:g})")  # fmt: skip
    add_output_options(command)


def run_export(args: argparse.Namespace) -> None:
    from snnconvert.checkpoint.checkpoint import Checkpoint
    from snnconvert.exchange.onnx_export import check_name, export_onnx
    from snnconvert.exchange.parity import report_path

    check_name(args.out)  # refused before slow work
    destination(args, args.out)
    samples = checked_integer("--count", args.count, 1, MOST)
    checkpoint = Checkpoint.read(args.file)
    known = checkpoint.has_recipe and checkpoint.probe is not None
    examples = checkpoint.probe_batches(samples) if known else []
    found = export_onnx(
        spiking_network(checkpoint, args.stage), args.out, form=args.form, examples=examples,
        like=checkpoint, tolerance=args.tolerance,
    )  # fmt: skip
    text = f"{found}\nwrote {args.out} and {report_path(args.out)}"
    say(args, text, {"file": args.out, **found.to_dict()})


def spiking_network(checkpoint: Checkpoint, stage: str | None) -> nn.Module:
    """The converted network of a checkpoint, or its quantised one, converted.

    Raises:
        CheckpointError: it holds neither.
    """
    from snnconvert.conversion.convert import convert

    stage = stage or ("snn" if "snn" in checkpoint.stages else checkpoint.convertible)
    network = checkpoint.network(stage)
    if stage in ("snn", "spiking"):
        return network
    levels = checkpoint.entry(stage)["config"].get("levels")
    if not levels:
        raise CheckpointError(
            f"{checkpoint.source}: its {stage!r} network is not quantised; convert it first, with "
            "--calibrate, and export what `convert` writes"
        )
    radix = stage == "qann-radix"
    timesteps = int(levels).bit_length() if radix else levels
    example = checkpoint.probe_batches(2)[0] if checkpoint.has_recipe else None
    return convert(
        network, timesteps, code="radix" if radix else "rate", example_inputs=example
    ).eval()
