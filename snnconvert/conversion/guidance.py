"""Threshold guidance of a converted network: every threshold times a factor."""

from __future__ import annotations

from dataclasses import replace

from snnconvert.conversion.network import SpikingNetwork
from snnconvert.conversion.program import Node, Ref
from snnconvert.conversion.rules import NEURON

SCALE = "aten.mul.Scalar"


def scale_thresholds(network: SpikingNetwork, scale: float) -> SpikingNetwork:
    """A network that fires at `scale` times its thresholds; what a spike is worth stays.

    A neuron with threshold `scale * v_threshold` is one with the old threshold that sees its input
    divided by `scale`; a division commutes with the mean, so every law of conversion holds on.
    """
    nodes: list[Node] = []
    for node in network.program.nodes:
        if node.op == NEURON:
            source, *others = node.args
            weaker = Node(f"{node.name}__input", SCALE, (source, 1.0 / scale), {}, node.layer)
            nodes.append(weaker)
            node = replace(node, args=(Ref(weaker.name), *others))
        nodes.append(node)
    program = replace(network.program, nodes=tuple(nodes))
    scaled = SpikingNetwork(program, network.constants, network.config)
    scaled.calibration = network.calibration
    return scaled
