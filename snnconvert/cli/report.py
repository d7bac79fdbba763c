"""The command `report`: what a natively trained spiking network does and costs."""

from __future__ import annotations

import argparse
from typing import Any

from snnconvert.errors import CheckpointError

TIMED = 16  # images of the timed call


def add_report(commands: argparse._SubParsersAction) -> None:
    command = commands.add_parser(
        "report",
        help="spike rates, energy and loss of a natively trained spiking network",
        description="Measure a native spiking network on the held-out images in its checkpoint, "
        "noised over the whole diffusion. (Converted networks get their report from `convert`.)",
    )
    command.add_argument("file", metavar="FILE", help="checkpoint with a native spiking network")
    command.add_argument("-o", "--out", help="JSON to write (default: <FILE stem>.report.json)")
    command.set_defaults(run=run_report)


def run_report(args: argparse.Namespace) -> None:
    from snnconvert.checkpoint.content import probe_batches
    from snnconvert.checkpoint.format import read_checkpoint
    from snnconvert.checkpoint.networks import network_from
    from snnconvert.files.atomic import check_destination, save_json
    from snnconvert.report.measures.timing import seconds_per_call
    from snnconvert.report.native import native_report
    from snnconvert.report.show.native import format_native

    out = check_destination(args.out or f"{args.file.removesuffix('.pt')}.report.json")
    content = read_checkpoint(args.file)
    if "spiking" not in content["networks"]:
        held = ", ".join(content["networks"])
        raise CheckpointError(
            f"{args.file}: holds no native spiking network, only: {held}; `snnconvert convert` "
            "reports on those"
        )
    network: Any = network_from(content, "spiking", args.file)
    batches: Any = probe_batches(content, args.file)
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
