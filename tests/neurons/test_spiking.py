"""Every network that spikes offers one interface; any other says that it does not spike."""

import pytest
import torch

import snnconvert
from snnconvert.checkpoint.describe import describe_network
from snnconvert.checkpoint.networks import content_of
from snnconvert.common.inputs import Inputs, inputs_of
from snnconvert.errors import InputError
from snnconvert.neurons.spiking import Spiking, settings_of, spiking
from tests.support.spiking_networks import mlp
from tests.support.spiking_unets import tiny_spiking_unet
from tests.support.unets import tiny_unet


def converted():
    network, inputs = mlp(4)
    return snnconvert.convert(network, 4, example_inputs=inputs)


NETWORKS = {"converted": converted, "native": tiny_spiking_unet}


@pytest.fixture(params=NETWORKS)
def network(request) -> Spiking:
    return NETWORKS[request.param]()


def test_each_tells_its_layers_settings_and_size(network):
    assert spiking(network) is network
    modules = dict(network.named_modules())
    assert network.layers and all(network.layers.values())
    assert network.stage == "snn" or set(network.layers.values()) <= set(modules)
    assert settings_of(network)["timesteps"] == network.config.timesteps
    assert describe_network(network) == network.description
    assert "weights" in network.description


def test_each_lies_in_a_checkpoint_as_it_says(network):
    content = content_of(network)
    assert content["stage"] == network.stage
    assert set(content["networks"]) == {network.stage}
    assert content["networks"][network.stage].keys() == network.to_content().keys()


def test_each_scales_its_thresholds_and_stays_as_it_is(network):
    assert network.scale_thresholds(1.0) is network
    scaled = network.scale_thresholds(0.5)
    assert type(scaled) is type(network) and scaled is not network
    assert scaled.layers == network.layers
    with pytest.raises(InputError, match="threshold scale"):
        network.scale_thresholds(0.0)


def test_only_a_network_with_something_to_tell_keeps_a_history():
    snn, native = converted(), tiny_spiking_unet()
    for network in (snn, native):
        assert network.history is None
        network.keep_history()
        network.reset()
    snn(mlp(4)[1][0])
    assert len(snn.history) == 1 and native.history is None


@pytest.mark.parametrize("other", [tiny_unet(), torch.nn.ReLU(), lambda x, t: x])
def test_other_networks_do_not_spike_and_say_nothing_of_their_inputs(other):
    assert spiking(other) is None and settings_of(other) is None
    assert inputs_of(other) == Inputs()


def test_captured_networks_know_their_inputs():
    network, (x,) = mlp(4)
    snn = snnconvert.convert(network, 4, example_inputs=(x,))
    for known in (snn, snn.quantized_ann()):
        assert inputs_of(known).shapes == ((-1, *x.shape[1:]),)
        assert inputs_of(known).fixed_batch is None
    assert inputs_of(tiny_spiking_unet()) == Inputs()


def test_a_converted_network_is_not_converted_again():
    network, inputs = mlp(4)
    snn = snnconvert.convert(network, 4, example_inputs=inputs)
    with pytest.raises(InputError, match="converted network already"):
        snnconvert.convert(snn, 4, example_inputs=inputs)


def test_a_network_that_was_trained_spiking_is_not_converted():
    x, t = torch.zeros(2, 3, 8, 8), torch.zeros(2)
    with pytest.raises(InputError, match="SpikingUNet spikes already"):
        snnconvert.convert(tiny_spiking_unet(), 4, example_inputs=(x, t))
