"""The command `report`: what a natively trained spiking network does and costs."""

from __future__ import annotations

import argparse
import json
from typing import TYPE_CHECKING, Any

from snnconvert.errors import CheckpointError

if TYPE_CHECKING:
    from snnconvert.models import SpikingUNet

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
    from snnconvert.checkpoint import check_destination, read_checkpoint, write_atomically
    from snnconvert.loading import network_from
    from snnconvert.probe import probe_batches
    from snnconvert.report.native import firing_rates, native_cost
    from snnconvert.report.timing import seconds_per_call

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
    found = {
        "file": args.file,
        "timesteps": network.config.timesteps,
        "tsm": network.config.tsm,
        "images": sum(len(batch[0]) for batch in batches),
        "cost": native_cost(network, batches),
        "seconds_per_image": seconds / len(x),
        "firing_rates": dict(firing_rates(network, batches)),
    }
    text = json.dumps(found, indent=1, allow_nan=False) + "\n"
    write_atomically(out, lambda file: file.write(text.encode()))
    print(format_native(found, network))
    print(f"\nwrote {out}")


def format_native(found: dict[str, Any], network: SpikingUNet) -> str:
    """The report as a person reads it in a terminal."""
    cost, rates = found["cost"], found["firing_rates"]
    weights = sum(value.numel() for value in network.parameters())
    lines = [
        f"T = {found['timesteps']}{', TSM' if found['tsm'] else ''}, {weights:,} weights, "
        f"{found['images']} inputs: {cost['firing_rate']:.3f} of the neurons fire in a step",
        "",
        f"{'layer':<28}{'rate':>8}",
        *(f"{name:<28}{rate:8.4f}" for name, rate in rates.items()),
        "",
        f"one image and call: {cost['macs'] / 1e6:.1f} M MACs, {cost['acs'] / 1e6:.1f} M ACs, "
        f"{cost['spike_driven_fraction']:.0%} of the synapses driven by spikes",
        f"energy {cost['energy_snn_mj']:.3g} mJ; one pass of this architecture as a float ANN "
        f"{cost['energy_ann_mj']:.3g} mJ, with quantised activations {cost['energy_qann_mj']:.3g} "
        "mJ",
        f"time {1000 * found['seconds_per_image']:.1f} ms an image and call",
    ]
    return "\n".join(lines)
