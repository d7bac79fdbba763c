"""What a call of a natively trained spiking network costs, counted while it runs.

Every convolution and matrix product is looked at when it is executed: with spikes as its input it
costs one accumulation (AC) per spike and synapse, with a current one multiply-accumulate (MAC) per
synapse. Which is which is read off the values, so nothing is assumed of the network. 45 nm, as in
`cost`; memory traffic, neuron updates and norms are not charged.
"""

from __future__ import annotations

import copy
from collections.abc import Iterable
from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils.flop_counter import FlopCounterMode, flop_registry

from snnconvert.models import SpikingUNet
from snnconvert.report.measures.cost import MJ_PER_PJ, PJ_PER_AC, PJ_PER_MAC


@dataclass
class Operations:
    """Of all images together: MACs, ACs, and the synapses behind the ACs."""

    macs: float = 0.0
    acs: float = 0.0
    driven: float = 0.0


class OperationCounter(TorchDispatchMode):
    """Adds up the operations of what runs inside."""

    def __init__(self) -> None:
        super().__init__()
        self.found = Operations()

    def __torch_dispatch__(
        self, func: Any, types: Any, args: tuple[Any, ...] = (), kwargs: Any = None
    ) -> Any:
        out = func(*args, **(kwargs or {}))
        count = flop_registry.get(func._overloadpacket)
        if count is not None:
            synapses = count(*args, **(kwargs or {}), out_val=out) / 2  # a MAC is two operations
            spikes = next(filter(is_spikes, operands(func._overloadpacket, args)), None)
            if spikes is not None:
                self.found.driven += synapses
                self.found.acs += synapses * float(spikes.double().mean())
            else:
                self.found.macs += synapses
        return out


def operands(operation: Any, args: tuple[Any, ...]) -> tuple[Tensor, ...]:
    """What an operation reads beside its weights: one tensor, or two that are multiplied."""
    if operation is torch.ops.aten.addmm:
        return args[1:2]
    return args[:2] if operation is torch.ops.aten.bmm else args[:1]


def is_spikes(value: Tensor) -> bool:
    """Whether all values are 0 or 1."""
    return bool(((value == 0) | (value == 1)).all())


def macs_of(network: nn.Module, inputs: Iterable[Tensor]) -> float:
    """MACs of one call, from shapes alone; convolutions and matrix products."""
    shapes = [value.to("meta") for value in inputs]
    with FlopCounterMode(display=False) as counter, torch.no_grad():
        copy.deepcopy(network).to("meta").eval()(*shapes)
    result: float = counter.get_total_flops() / 2
    return result


def published_energy(macs: float, first: float, rate: float, timesteps: int) -> float:
    """Energy in mJ by SDM's formula: the first convolution in MACs, all else in ACs.

    Args:
        macs: of one step of the network, the first convolution's `first` among them.
        rate: mean share of neurons that fire in a step.
    """
    accumulations = (macs - first) * rate * timesteps
    return (first * PJ_PER_MAC + accumulations * PJ_PER_AC) * MJ_PER_PJ


@torch.no_grad()
def native_report(
    network: SpikingUNet, batches: Iterable[tuple[Tensor, Tensor]]
) -> tuple[dict[str, float], dict[str, float]]:
    """Cost of one image and call, and the firing rate of each layer, on real inputs; one pass.

    The cost has stable keys, energies in mJ; `energy_ann_mj` and `energy_qann_mj` are those of one
    pass through the same architecture with float, and with quantised activations in the neurons'
    places (bit-serial additions). A rate is the mean share of a layer's neurons that fire in a
    step, by module path.
    """
    fired = dict.fromkeys(network.layers, 0.0)
    counter, images = OperationCounter(), 0
    shapes: tuple[Tensor, ...] = ()

    def recorder(name: str) -> Any:
        def record(_module: nn.Module, _inputs: Any, spikes: Tensor) -> None:
            fired[name] += spikes.shape[1] * float(spikes.double().mean())

        return record

    handles = [
        network.get_submodule(path).register_forward_hook(recorder(name))
        for name, path in network.layers.items()
    ]
    try:
        for x, t in batches:
            with counter:
                network(x, t)
            images, shapes = images + len(x), (x[:1], t[:1])
    finally:
        for handle in handles:
            handle.remove()
    single = macs_of(one_step(network), shapes)
    cost = native_cost(counter.found, images, single, network.config.timesteps)
    return cost, {name: total / images for name, total in fired.items()}


def native_cost(found: Operations, images: int, single: float, timesteps: int) -> dict[str, float]:
    """Per image, from the operations of `images`; `single`: MACs of one pass and image."""
    share = found.driven / (found.driven + found.macs)
    quantised = min(PJ_PER_MAC, timesteps.bit_length() * PJ_PER_AC)
    return {
        "macs": found.macs / images,
        "acs": found.acs / images,
        "ann_macs": single,
        "spike_driven_fraction": share,
        "firing_rate": found.acs / found.driven,
        "energy_ann_mj": single * PJ_PER_MAC * MJ_PER_PJ,
        "energy_qann_mj": single * (share * quantised + (1 - share) * PJ_PER_MAC) * MJ_PER_PJ,
        "energy_snn_mj": (found.macs * PJ_PER_MAC + found.acs * PJ_PER_AC) * MJ_PER_PJ / images,
    }


def one_step(network: SpikingUNet) -> SpikingUNet:
    """A network of the same shape with a single spiking step; its weights mean nothing."""
    with torch.device("meta"):
        return SpikingUNet.from_config(replace(network.config, timesteps=1))
