"""What a call of a native spiking U-Net costs, counted from its real spikes.

Charged as in `cost.py`: one accumulation per spike and synapse where a convolution or a product of
attention reads spikes; multiply-accumulates where it reads currents, in every step in which it
really happens: shortcuts, tail and output mixing in all T, the first convolution (of an image that
does not change) and everything about the time once a call. The factors of TSM and of batch norms,
neuron updates and memory traffic are not charged.

`published_energy` is the formula of SDDPM's paper instead, which charges the first convolution
alone as multiply-accumulates, and all the rest at one mean spike rate.
"""

from __future__ import annotations

from collections.abc import Callable
from math import prod
from typing import Any

import torch
from torch import Tensor, nn

from snnconvert.models.spiking_blocks import SpikingAttention, SpikingLayer
from snnconvert.models.spiking_unet import SpikingUNet
from snnconvert.neurons.resting import RestingNode
from snnconvert.report.cost import MJ_PER_PJ, PJ_PER_AC, PJ_PER_MAC, Cost


@torch.no_grad()
def record(
    network: SpikingUNet, x: Tensor, t: Tensor, hook_of: Callable[[str, nn.Module], Any]
) -> None:
    """One call in evaluation mode; `hook_of(name, module)` is a forward hook of it, or None."""
    training, handles = network.training, []
    network.eval()
    try:
        for name, module in network.named_modules():
            hook = hook_of(name, module)
            if hook is not None:
                handles.append(module.register_forward_hook(hook))
        network(x, t)
    finally:
        network.train(training)
        for handle in handles:
            handle.remove()


def spike_rates(network: SpikingUNet, x: Tensor, t: Tensor) -> dict[str, float]:
    """Spikes per neuron and call, mean over images and neurons, of every layer of neurons."""
    rates: dict[str, float] = {}

    def hook_of(name: str, module: nn.Module) -> Any:
        def hook(_module: nn.Module, _args: Any, spikes: Tensor) -> None:
            rates[name] = spikes.double().sum(0).mean().item()

        return hook if isinstance(module, RestingNode) else None

    record(network, x, t, hook_of)
    return rates


def count_native_cost(network: SpikingUNet, x: Tensor, t: Tensor) -> Cost:
    """Cost of a call, per image; `ann_macs` is of an ANN of the same layers, one step of it."""
    cost, steps, images = Cost(), network.config.timesteps, len(x)
    spiking = {
        f"{name}.conv" for name, layer in network.named_modules() if isinstance(layer, SpikingLayer)
    }

    def weights(name: str) -> Any:
        def hook(module: nn.Module, args: tuple[Tensor, ...], out: Tensor) -> None:
            synapses = prod(out.shape[1:]) * prod(module.get_parameter("weight").shape[1:])
            rows = len(args[0]) / images  # T where it runs in every step, else 1
            cost.ann_macs += synapses
            if name in spiking:
                cost.spike_driven_macs += synapses
                cost.acs += synapses * rows * args[0].double().mean().item()
            else:
                cost.macs += synapses * rows

        return hook

    def attention(_node: nn.Module, _args: Any, train: Tensor) -> None:
        macs, acs = attention_products(train.flatten(0, 1).flatten(2))
        cost.ann_macs += macs / images / steps
        cost.spike_driven_macs += macs / images / steps
        cost.acs += acs / images

    def hook_of(name: str, module: nn.Module) -> Any:
        if isinstance(module, nn.Conv2d | nn.Linear):
            return weights(name)
        owner, _, last = name.rpartition(".")
        products = last == "neuron" and isinstance(network.get_submodule(owner), SpikingAttention)
        return attention if products else None

    record(network, x, t, hook_of)
    return cost


def attention_products(spikes: Tensor) -> tuple[float, float]:
    """(MACs, accumulations) of q (k^T v) in the order that `SpikingAttention` takes.

    spikes: [T * B, 3 * C, pixels] of queries, keys and values. The first product adds where two
    spikes meet, the second adds a row of sums for every spike.
    """
    queries, keys, values = spikes.double().chunk(3, dim=1)
    rows, channels, pixels = queries.shape
    if pixels > channels:
        meetings = (values.sum(1) * keys.sum(1)).sum() + channels * queries.sum()
        return 2.0 * rows * pixels * channels**2, meetings.item()
    meetings = (keys.sum(2) * queries.sum(2)).sum() + pixels * values.sum()
    return 2.0 * rows * channels * pixels**2, meetings.item()


def published_energy(macs: float, first_macs: float, rate: float, timesteps: int) -> float:
    """mJ per image and call, by SDDPM's formula (Cao et al. 2024).

    E = 4.6 pJ * MACs of the first convolution + 0.9 pJ * sum over other layers of rate * T * MACs.

    Args:
        macs: of one step of the whole network.
        first_macs: of its first convolution.
        rate: mean spikes per neuron and step.
    """
    operations = rate * timesteps * (macs - first_macs)
    return MJ_PER_PJ * (PJ_PER_MAC * first_macs + PJ_PER_AC * operations)
