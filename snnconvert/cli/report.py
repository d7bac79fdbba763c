"""The command `report`: what a natively trained spiking network does and costs."""

from __future__ import annotations

import argparse
from typing import Any

from snnconvert.cli.arguments.lazy import Commands, add_command
from snnconvert.errors import CheckpointError

TIMED = 16  # images of the timed call


def add_report(commands: Commands) -> None:
    add_command(
        commands,
        "report",
        run_report,
        add_arguments,
        help="spike rates, energy and loss of a natively trained spiking network",
        description="Measure a native spiking network on the held-out images in its checkpoint, "
        "noised over the whole diffusion. (Converted networks get their report from `convert`.)",
    )


def add_arguments(command: argparse.ArgumentParser) -> None:
    command.add_argument("file", metavar="FILE", help="checkpoint with a native spiking network")
    command.add_argument("-o", "--out", help="JSON to write (default: <FILE stem>.report.json)")


def run_report(args: argparse.Namespace) -> None:
    from snnconvert.checkpoint.checkpoint import Checkpoint
    from snnconvert.files.atomic import check_destination, save_json
    from snnconvert.report.measures.timing import seconds_per_call
    from snnconvert.report.native import native_report
    from snnconvert.report.show.native import format_native

    out = check_destination(args.out or f"{args.file.removesuffix('.pt')}.report.json")
    checkpoint = Checkpoint.read(args.file)
    if "spiking" not in checkpoint.stages:
        held = ", ".join(checkpoint.stages)
        raise CheckpointError(
            f"{args.file}: holds no native spiking network, only: {held}; `snnconvert convert` "
            "reports on those"
        )
    network: Any = checkpoint.network("spiking")
    batches: Any = checkpoint.probe_batches()
    x, t = (value[:TIMED] for value in batches[0])
    seconds = seconds_per_call({"spiking": network}, (x, t), {})["spiking"]
    cost, rates = native_report(network, batches)
    found = {
        "file": args.file,
        "timesteps": network.config.timesteps,
        "tsm": network.config.tsm,
        "images": sum(len(batch[0]) for batch in batches),
        "cost": cost,
        "seconds_per_image": seconds / len(x),
        "firing_rates": rates,
    }
    save_json(found, out)
    print(format_native(found, network))
    print(f"\nwrote {out}")
