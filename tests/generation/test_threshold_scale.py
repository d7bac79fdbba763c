"""Threshold scaling: other thresholds, the same weights, and every law of conversion."""

import pytest
import torch

import snnconvert
from snnconvert.errors import InputError
from snnconvert.generation.threshold_scale import scale_thresholds
from snnconvert.models import SpikingUNet
from snnconvert.neurons.resting import RestingNode
from tests.support.spiking_networks import mlp
from tests.support.unets import tiny_unet, unet_inputs


@pytest.mark.parametrize("scale", [0.8, 0.997, 1.003, 1.5])
def test_a_scaled_neuron_fires_at_the_scaled_threshold(scale):
    network, (x,) = mlp(4)
    first, clip = network[0], network[1]
    spiking = snnconvert.convert(network, 4, example_inputs=(x,), firing="deferred")
    counts = scale_thresholds(spiking, scale).run(x, record="counts").counts
    threshold = clip.ceiling.detach() * scale
    wanted = torch.floor(4 * first(x) / threshold + 0.5).clamp(0, 4)
    assert torch.equal(next(iter(counts.values())), wanted)


@pytest.mark.parametrize("firing", ["immediate", "deferred"])
def test_a_scaled_network_is_still_a_lossless_conversion(firing):
    network, inputs = tiny_unet(), unet_inputs()
    spiking = snnconvert.convert(network, 4, example_inputs=inputs, firing=firing)
    scaled = scale_thresholds(spiking, 0.9)
    assert torch.equal(scaled(*inputs), scaled.quantized_ann()(*inputs))
    assert not torch.equal(scaled(*inputs), spiking(*inputs))
    assert scale_thresholds(spiking, 1.0) is spiking
    twice = scale_thresholds(scaled, 1 / 0.9)
    torch.testing.assert_close(twice(*inputs), spiking(*inputs))


def test_a_scaled_network_can_be_saved(tmp_path):
    network, inputs = tiny_unet(), unet_inputs()
    scaled = scale_thresholds(snnconvert.convert(network, 4, example_inputs=inputs), 1.1)
    snnconvert.save(scaled, tmp_path / "scaled.pt")
    assert torch.equal(snnconvert.load(tmp_path / "scaled.pt")(*inputs), scaled(*inputs))


def test_native_neurons_get_other_thresholds_and_keep_their_weights():
    network = SpikingUNet(3, in_channels=2, channels=8, channel_mult=(1, 2), blocks=1).eval()
    scaled = scale_thresholds(network, 0.5)
    nodes = [module for module in scaled.modules() if isinstance(module, RestingNode)]
    assert {node.v_threshold for node in nodes} == {0.5}
    for (name, a), (_, b) in zip(
        network.named_parameters(), scaled.named_parameters(), strict=True
    ):
        assert torch.equal(a, b), name
    assert {m.v_threshold for m in network.modules() if isinstance(m, RestingNode)} == {1.0}


@pytest.mark.parametrize("scale", [0.0, -1.0, float("nan"), float("inf")])
def test_senseless_scales_are_refused(scale):
    network, inputs = tiny_unet(), unet_inputs()
    for spiking in (
        snnconvert.convert(network, 4, example_inputs=inputs),
        SpikingUNet(channels=8, channel_mult=(1,), blocks=1),
    ):
        with pytest.raises(InputError, match="threshold scale"):
            scale_thresholds(spiking, scale)


def test_networks_without_neurons_are_refused():
    with pytest.raises(InputError, match="no neurons"):
        scale_thresholds(tiny_unet(), 1.0)
