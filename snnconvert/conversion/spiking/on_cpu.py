"""A converted network on the CPU, where files are made."""

from __future__ import annotations

from snnconvert.common.denoises import facts_of, with_facts
from snnconvert.conversion.graph.owned import on_cpu
from snnconvert.conversion.spiking.network import SpikingNetwork


def network_on_cpu(snn: SpikingNetwork) -> SpikingNetwork:
    """`snn` itself, or a copy of it where it is on another device."""
    constants = on_cpu(snn.constants)
    if all(constants[name] is value for name, value in snn.constants.items()):
        return snn
    network = SpikingNetwork(snn.program, constants, snn.config, snn.calibration)
    return with_facts(network, facts_of(snn)).eval()
