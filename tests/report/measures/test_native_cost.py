"""Energy of native spiking networks: the paper's figures from our own counts, and ours."""

import pytest
import torch

from snnconvert.models import SpikingUNet
from snnconvert.models.unet import AttentionBlock, UNet, UNetConfig
from snnconvert.report.measures.cost import MJ_PER_PJ, PJ_PER_AC, PJ_PER_MAC
from snnconvert.report.native import (
    OperationCounter,
    macs_of,
    native_report,
    one_step,
    published_energy,
)
from tests.support.spiking_unets import tiny_spiking_unet

CIFAR = (torch.zeros(1, 3, 32, 32, device="meta"), torch.zeros(1, device="meta"))
FIRST = 3 * 128 * 9 * 32 * 32  # MACs of the stem's first convolution


def test_the_papers_ann_energy_follows_from_our_count():
    """SDM's ANN: channel multiples 1, 2, 2, 4 and attention in the middle block alone."""
    with torch.device("meta"):
        config = UNetConfig(channel_mult=(1, 2, 2, 4))
        network = UNet(config)
        network.middle.insert(1, AttentionBlock(config, 512))
    energy = macs_of(network, CIFAR) * PJ_PER_MAC * MJ_PER_PJ
    assert energy == pytest.approx(29.23, rel=0.005)


@pytest.mark.parametrize(("timesteps", "rate", "energy"), [(4, 0.470, 10.97), (8, 0.492, 22.96)])
def test_the_papers_spiking_energy_follows_from_its_firing_rates(timesteps, rate, energy):
    with torch.device("meta"):
        macs = macs_of(SpikingUNet(timesteps=1), CIFAR)
    assert macs == pytest.approx(6.480e9, rel=0.005)
    assert published_energy(macs, FIRST, rate, timesteps) == pytest.approx(energy, rel=0.005)


@pytest.fixture
def network():
    torch.manual_seed(0)
    shape = {"in_channels": 2, "channels": 8, "channel_mult": (1, 2), "blocks": 1}
    return SpikingUNet(3, **shape).eval()


def batch(count=4):
    return torch.randn(count, 2, 8, 8), torch.linspace(
        1, 999, count
    )  # the waves of t = 0 are 0 and 1


def test_spikes_cost_accumulations_and_currents_multiplications():
    weight, spikes = torch.randn(5, 4, 3, 3), (torch.rand(2, 4, 6, 6) < 0.3).float()
    with OperationCounter() as counter:
        torch.conv2d(spikes, weight, padding=1)
    synapses = 2 * 5 * 6 * 6 * 4 * 9
    assert (counter.found.macs, counter.found.driven) == (0, synapses)
    assert counter.found.acs == pytest.approx(synapses * float(spikes.mean()))
    with OperationCounter() as counter:
        torch.conv2d(spikes * 0.5, weight, padding=1)
        torch.nn.functional.linear(torch.randn(3, 4), torch.randn(7, 4), torch.randn(7))
    assert (counter.found.macs, counter.found.acs) == (synapses + 3 * 4 * 7, 0)


def test_products_with_spikes_on_either_side_cost_accumulations():
    """Attention multiplies spikes by sums of spikes."""
    spikes, sums = (torch.rand(2, 4, 6) < 0.3).float(), torch.randint(0, 9, (2, 6, 5)).float()
    for a, b in ((spikes, sums), (sums.mT, spikes.mT)):
        with OperationCounter() as counter:
            a @ b
        assert (counter.found.macs, counter.found.driven) == (0, 2 * 4 * 6 * 5)
        assert counter.found.acs == pytest.approx(2 * 4 * 6 * 5 * float(spikes.mean()))


def test_a_small_network_by_hand():
    """One resolution, one block: currents in every step in which they are read."""
    network = tiny_spiking_unet(channel_mult=(1,), timesteps=3, channels=8)
    x, t = batch(2)
    cost, rates = native_report(network, [(x, t)])
    pixels, time = 64, 8 * 32 + 32 * 32 + 32 * 8 * 5  # table, and one projection a block
    shortcuts, tail = 2 * 16 * 8, (8 * 2 + 2 * 2) * 9
    assert cost["macs"] == pixels * (2 * 8 * 9 + 3 * (shortcuts + tail)) + time
    synapses = dict.fromkeys(rates, 3 * 8 * 8 * 9 * pixels)
    for block in (0, 1):  # on the way up, blocks read a skip too
        synapses[f"up.{block}.0.layer1.neuron"] *= 2
    accumulations = sum(rates[name] * count for name, count in synapses.items())
    assert cost["acs"] == pytest.approx(accumulations)
    assert cost["firing_rate"] == pytest.approx(accumulations / sum(synapses.values()))


def test_every_operation_is_either_driven_by_spikes_or_not(network):
    x, t = batch()
    with OperationCounter() as counter:
        network(x, t)
    found = counter.found
    assert found.macs + found.driven == macs_of(network, (x, t))
    assert found.acs < found.driven
    single = macs_of(one_step(network), (x, t))
    assert single < found.macs + found.driven < 3 * single  # what is the same in all steps: once


def test_the_cost_of_an_image_does_not_depend_on_the_batch(network):
    x, t = batch()
    whole, _ = native_report(network, [(x, t)])
    parts, _ = native_report(network, [(x[:1], t[:1]), (x[1:], t[1:])])
    for key, value in whole.items():
        assert parts[key] == pytest.approx(value, rel=1e-6), key
    energy = (whole["macs"] * PJ_PER_MAC + whole["acs"] * PJ_PER_AC) * MJ_PER_PJ
    assert whole["energy_snn_mj"] == pytest.approx(energy)
    assert whole["energy_qann_mj"] < whole["energy_ann_mj"]


def test_rates_are_those_of_the_neurons(network):
    x, t = batch()
    _, rates = native_report(network, [(x, t)])
    assert len(rates) == sum(name.endswith("neuron") for name, _ in network.named_modules())
    assert all(0 <= rate <= 1 for rate in rates.values())
    assert 0 < max(rates.values()) < 1
