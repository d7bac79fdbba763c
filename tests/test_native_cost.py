"""Energy of native networks: the paper's figures from our own counts, and a count by hand."""

import pytest
import torch
from torch.utils.flop_counter import FlopCounterMode

from snnconvert.models import SpikingUNet
from snnconvert.models.unet import AttentionBlock, UNet, UNetConfig
from snnconvert.report.cost import MJ_PER_PJ, PJ_PER_AC, PJ_PER_MAC, count_macs
from snnconvert.report.native_cost import (
    attention_products,
    count_native_cost,
    published_energy,
    spike_rates,
)
from tests.spiking_unets import inputs, tiny_spiking_unet


def image_and_time(channels: int = 3):
    return torch.zeros(1, channels, 32, 32), torch.zeros(1)


def test_the_papers_ann_costs_what_the_paper_says():
    """29.23 mJ: the U-Net (1, 2, 2, 4) with one attention, in the middle, 512 channels wide."""
    config = UNetConfig(channel_mult=(1, 2, 2, 4))
    ann = UNet(config)
    ann.middle.insert(1, AttentionBlock(config, 512))
    macs = count_macs(ann, image_and_time())
    assert macs == pytest.approx(6.350e9, rel=5e-4)
    assert macs * PJ_PER_MAC * MJ_PER_PJ == pytest.approx(29.23, rel=0.005)


def test_the_papers_spiking_network_costs_what_the_paper_says():
    """At the mean spike rates that its figures imply; 6.480 G MACs a step by our own count."""
    network = SpikingUNet(1)  # the count of one step
    macs = count_native_cost(network, *image_and_time()).ann_macs
    assert macs == pytest.approx(6.480e9, rel=1e-3)
    first = 3 * 128 * 9 * 32 * 32
    for timesteps, rate, published in ((4, 0.470, 10.97), (8, 0.492, 22.96)):
        found = published_energy(macs, first, rate, timesteps)
        assert found == pytest.approx(published, rel=0.005)


@pytest.mark.parametrize("tsm", [True, False])
def test_counts_are_those_of_a_flop_counter(tsm):
    """Everything that runs is counted, however often it runs."""
    network = tiny_spiking_unet(timesteps=3, tsm=tsm, attention=(1,), channel_mult=(1, 2, 2))
    x, t = inputs(2, size=(16, 8))
    cost = count_native_cost(network, x, t)
    with FlopCounterMode(display=False) as counter, torch.no_grad():
        network(x, t)
    really = cost.macs + 3 * cost.spike_driven_macs
    assert 2 * 2 * really == counter.get_total_flops()  # two images, two operations a MAC
    assert cost.acs < 3 * cost.spike_driven_macs


def test_costs_of_a_small_network_by_hand():
    """One resolution, one block: analog inputs in every step in which they are read."""
    network = tiny_spiking_unet(channel_mult=(1,), timesteps=3, channels=8)
    x, t = inputs(2)
    cost = count_native_cost(network, x, t)
    pixels, time = 64, 8 * 32 + 32 * 32 + 32 * 8 * 5  # table, and one projection for each block
    shortcuts, tail = 2 * 16 * 8, (8 * 2 + 2 * 2) * 9
    assert cost.macs == pixels * (2 * 8 * 9 + 3 * (shortcuts + tail)) + time
    rates = spike_rates(network, x, t)
    synapses = dict.fromkeys(rates, 8 * 8 * 9 * pixels)
    for block in (0, 1):  # on the way up, blocks read a skip too
        synapses[f"up.{block}.0.layer1.neuron"] *= 2
    assert cost.spike_driven_macs == sum(synapses.values())
    assert cost.acs == pytest.approx(sum(rates[name] * n for name, n in synapses.items()))
    energy = cost.to_dict()
    assert "energy_qann_mj" not in energy
    wanted = MJ_PER_PJ * (PJ_PER_MAC * cost.macs + PJ_PER_AC * cost.acs)
    assert energy["energy_snn_mj"] == pytest.approx(wanted)


def test_rates_name_every_layer_of_neurons_and_leave_the_network_alone():
    network = tiny_spiking_unet(attention=(0,)).train()
    x, t = inputs()
    rates = spike_rates(network, x, t)
    assert all(0 <= rate <= network.config.timesteps for rate in rates.values())
    assert len(rates) == sum(name.endswith("neuron") for name, _ in network.named_modules())
    assert network.training
    assert not any(module._forward_hooks for module in network.modules())


@pytest.mark.parametrize("size", [2, 5])  # fewer and more pixels than channels
def test_products_of_attention_add_where_spikes_meet(size):
    spikes = (torch.rand(3, 24, size * size) < 0.4).float()
    q, k, v = spikes.chunk(3, dim=1)
    macs, acs = attention_products(spikes)
    pixels = size * size
    if pixels > 8:
        assert macs == 3 * 2 * 8 * 8 * pixels
        assert acs == (v @ k.transpose(1, 2)).sum() + 8 * q.sum()
    else:
        assert macs == 3 * 2 * 8 * pixels * pixels
        assert acs == (k.transpose(1, 2) @ q).sum() + pixels * v.sum()
