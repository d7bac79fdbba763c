"""Threshold guidance: other firing thresholds at inference, nothing retrained.

SDM (Cao et al., IEEE TAI, section 3.4) draws better images with every threshold times 0.997 ...
1.003. Below 1 neurons fire more easily (the paper says inhibitory), above 1 less (excitatory).
"""

from __future__ import annotations

from dataclasses import replace

from torch import nn

from snnconvert.common.checks import checked_number
from snnconvert.conversion.graph.nodes import Neuron
from snnconvert.conversion.graph.program import Node
from snnconvert.conversion.graph.values import Ref
from snnconvert.conversion.spiking.network import SpikingNetwork
from snnconvert.errors import InputError
from snnconvert.models import SpikingUNet

SCALE = "aten.mul.Scalar"


def scale_thresholds(network: nn.Module, scale: float) -> nn.Module:
    """`network` with every firing threshold times `scale`; the weights stay as they are.

    Args:
        network: a converted network or a `SpikingUNet`.
        scale: above 0; 1 changes nothing.

    Raises:
        InputError: a network without neurons, or a senseless scale.
    """
    scale = checked_number("threshold scale", scale, "(0, inf)")
    if isinstance(network, SpikingNetwork):
        return network if scale == 1 else scale_converted(network, scale).eval()
    if isinstance(network, SpikingUNet):
        return network if scale == 1 else scale_native(network, scale)
    raise InputError(
        f"threshold scale: {type(network).__name__} has no neurons; convert the network first, or "
        "choose a spiking stage"
    )


def scale_converted(network: SpikingNetwork, scale: float) -> SpikingNetwork:
    """A network that fires at `scale` times its thresholds; what a spike is worth stays.

    A neuron with threshold `scale * v_threshold` is one with the old threshold that sees its input
    divided by `scale`; a division commutes with the mean, so every law of conversion holds on.
    """
    nodes: list[Node] = []
    for node in network.program.nodes:
        if Neuron.found(node):
            neuron = Neuron.of(node)
            args = (neuron.input, 1.0 / scale)
            weaker = Node(f"{node.name}__input", SCALE, args, {}, node.layer)
            nodes.append(weaker)
            node = replace(neuron, input=Ref(weaker.name)).node(node.name, node.layer)
        nodes.append(node)
    program = replace(network.program, nodes=tuple(nodes))
    scaled = SpikingNetwork(program, network.constants, network.config)
    scaled.calibration = network.calibration
    return scaled


def scale_native(network: SpikingUNet, scale: float) -> SpikingUNet:
    """A copy whose neurons all fire at `scale` times their threshold, with the same weights.

    Threshold guidance (Cao et al. 2024, SDDPM, section 4.4) samples with values near 1, such as
    0.997 ("inhibitory") or 1.003 ("excitatory"); there is no rule which is best, so search.

    Raises:
        InputError: `scale` is not a finite number above 0.
    """
    scale = checked_number("threshold scale", scale, "(0, inf)")
    config = replace(network.config, v_threshold=network.config.v_threshold * scale)
    scaled = SpikingUNet.from_config(config).to(network.time_table.table)
    scaled.load_state_dict(network.state_dict())
    return scaled.train(network.training)
