"""The report of a native spiking network as a person reads it."""

from __future__ import annotations

from typing import Any

from snnconvert.models import SpikingUNet
from snnconvert.report.show.columns import columns


def format_native(found: dict[str, Any], network: SpikingUNet) -> str:
    """The report as a person reads it in a terminal."""
    cost, rates = found["cost"], found["firing_rates"]
    weight_count = sum(value.numel() for value in network.parameters())
    lines = [
        f"T = {found['timesteps']}{', TSM' if found['tsm'] else ''}, {weight_count:,} weights, "
        f"{found['images']} inputs: a synapse carries a spike in {cost['firing_rate']:.3f} of the "
        "steps",
        "",
        *columns("<28 >7", [("layer", "rate"), *((n, f"{rate:.4f}") for n, rate in rates.items())]),
        "",
        f"one image and call: {cost['macs'] / 1e6:.1f} M MACs, {cost['acs'] / 1e6:.1f} M ACs, "
        f"{cost['spike_driven_fraction']:.0%} of the synapses driven by spikes",
        f"energy {cost['energy_snn_mj']:.3g} mJ; one pass of this architecture as a float ANN "
        f"{cost['energy_ann_mj']:.3g} mJ, with quantised activations {cost['energy_qann_mj']:.3g} "
        "mJ",
        f"time {1000 * found['seconds_per_image']:.1f} ms an image and call",
    ]
    return "\n".join(lines)
