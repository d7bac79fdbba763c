"""U-Nets in which every convolution but the first reads activations."""

from __future__ import annotations

import pytest
import torch
from torch import nn

import snnconvert
from snnconvert.report.measures.cost import count_cost
from tests.support.unets import tiny_unet, unet_inputs


def spike_driven_share(network: nn.Module, inputs) -> float:
    snn = snnconvert.convert(network, network.config.levels, example_inputs=inputs)
    run = snn.run(*inputs, record="counts")
    return count_cost(snn, inputs, run).to_dict(4)["spike_driven_fraction"]


def test_every_multiplication_but_the_first_layer_is_driven_by_spikes():
    inputs = unet_inputs(size=16)
    share = {
        driven: spike_driven_share(
            tiny_unet(levels=4, channels=16, spike_driven=driven, spiking_time=False), inputs
        )
        for driven in (False, True)
    }
    assert share[True] > 0.9 > share[False]  # the first convolution is a larger share of a tiny one


def test_its_convolutions_read_activations():
    """By hooks: whatever a convolution other than the first reads is never negative."""
    network, read = tiny_unet(levels=0, spike_driven=True), []
    for name, module in network.named_modules():
        if isinstance(module, nn.Conv2d) and name != "head":
            module.register_forward_pre_hook(lambda _, args: read.append(args[0]))
    network(*unet_inputs())
    assert len(read) > 8 and all(float(x.min()) >= 0 for x in read)


@pytest.mark.parametrize("size", [8, 7, 10])
def test_odd_sizes_come_back(size):
    x, t = unet_inputs(size=size)
    assert tiny_unet(spike_driven=True)(x, t).shape == x.shape


def test_silence_is_still_the_quantised_network():
    network = tiny_unet(levels=4, spike_driven=True, spiking_time=False)
    x, t = unet_inputs(batch=5)
    snn = snnconvert.convert(network, 4, example_inputs=(x, t))
    for options in ({}, {"firing": "deferred"}, {"simulate": "counts"}):
        assert torch.equal(snn.with_config(**options)(x, t), network(x, t))
