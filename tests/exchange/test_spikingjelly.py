"""Converted networks leave for spikingjelly and come in from it, spike for spike."""

from __future__ import annotations

import pytest
import torch
from spikingjelly.activation_based import functional, layer, neuron
from torch import nn

import snnconvert
from snnconvert.conversion.spiking.plain_simulation import PlainSimulation
from snnconvert.errors import InputError
from snnconvert.exchange.from_spikingjelly import from_spikingjelly
from snnconvert.exchange.spikingjelly import to_spikingjelly
from tests.support.spiking_networks import pair

OPTIONS = [
    {"settle": 0, "signed": False},
    {"settle": 3, "signed": True},
    {"settle": 0, "signed": False, "v_reset": 0.0},
]


@pytest.mark.parametrize("options", OPTIONS)
@pytest.mark.parametrize("name", ["mlp", "cnn", "unet"])
def test_equal_to_the_plain_simulation(name, options):
    _, inputs, snn = pair(name, 4, double=True)
    snn = snn.with_config(**options)
    steps = 4 + snn.config.settle
    wanted = PlainSimulation(snn).run(*inputs, steps=steps)
    net = to_spikingjelly(snn)
    counts = {name: [] for name in snn.layers}
    for node, scaled in net.neurons.items():
        name = snn.names[node]
        scaled.node.register_forward_hook(
            lambda _m, _i, spikes, name=name: counts[name].append(spikes)
        )
    for _ in range(2):  # reset_net forgets everything
        functional.reset_net(net)
        [kept.clear() for kept in counts.values()]
        output = sum(net(*inputs) for _ in range(steps)) / 4
        torch.testing.assert_close(output, wanted.output, rtol=1e-6, atol=1e-6)
        for name, train in wanted.trains.items():
            assert torch.equal(torch.stack(counts[name]).to(torch.int8), train)
    functional.reset_net(net)
    functional.set_step_mode(net, "m")
    many = net(*(value.expand(steps, *value.shape) for value in inputs))
    assert len(many) == steps
    torch.testing.assert_close(many.sum(0) / 4, output)


def test_unsigned_neurons_are_spikingjellys_own():
    _, _, snn = pair("cnn", 4)
    net = to_spikingjelly(snn.with_config(settle=0, signed=False))
    assert {type(scaled.node) for scaled in net.neurons.values()} == {neuron.IFNode}


def test_what_it_cannot_express_is_named_at_once():
    network, _, snn = pair("mlp", 4)
    with pytest.raises(InputError, match=r"deferred.*per|deferred"):
        to_spikingjelly(snn.with_config(firing="deferred"))
    with pytest.raises(InputError, match="settle=0"):
        to_spikingjelly(snn.with_config(settle=2, signed=False))
    with pytest.raises(InputError, match="no converted network"):
        to_spikingjelly(network)


def hand_built(**changes) -> nn.Module:
    make = changes.pop("make", neuron.IFNode)
    torch.manual_seed(0)
    return nn.Sequential(
        layer.Conv2d(2, 6, 3, padding=1), make(**changes), layer.AvgPool2d(2),
        layer.Conv2d(6, 8, 3, padding=1), make(**changes), layer.Flatten(), layer.Linear(32, 5),
    ).double().eval()  # fmt: skip


def by_itself(net: nn.Module, x: torch.Tensor, timesteps: int) -> torch.Tensor:
    functional.reset_net(net)
    functional.set_step_mode(net, "s")
    return sum(net(x) for _ in range(timesteps)) / timesteps


@pytest.mark.parametrize(
    "changes",
    [{"v_reset": None}, {"v_reset": None, "v_threshold": 0.7}, {"v_reset": 0.0, "v_threshold": 0.8},
     {"make": neuron.LIFNode, "v_reset": None, "tau": 2.0, "v_threshold": 0.3},
     {"make": neuron.LIFNode, "v_reset": 0.0, "tau": 3.0, "decay_input": False}],
)  # fmt: skip
def test_hand_built_networks_come_in(changes):
    net, x = hand_built(**changes), torch.rand(3, 2, 4, 4, dtype=torch.float64)
    snn = from_spikingjelly(net, 8, example_inputs=x)
    with torch.no_grad():
        torch.testing.assert_close(snn(x), by_itself(net, x, 8), rtol=1e-6, atol=1e-6)
    assert snn.run(x).counts and snn.config.timesteps == 8


def test_its_own_conversion_comes_in_and_leaves_as_onnx(tmp_path):
    from spikingjelly.activation_based.ann2snn import Converter, RateCodingRecipe

    torch.manual_seed(0)
    ann = nn.Sequential(nn.Conv2d(2, 6, 3, padding=1), nn.ReLU(), nn.Flatten(), nn.Linear(96, 5))
    x = torch.rand(8, 2, 4, 4)
    net = Converter(RateCodingRecipe([(x, None)], mode="Max")).convert(ann).eval()
    snn = from_spikingjelly(net, 16, example_inputs=x)
    with torch.no_grad():
        torch.testing.assert_close(snn(x), by_itself(net, x, 16), rtol=1e-5, atol=1e-5)
    parity = snnconvert.export_onnx(snn, tmp_path / "sj.onnx", form="clock", examples=[x])
    assert parity.holds


def test_networks_that_have_no_counterpart_are_refused():
    x = torch.rand(2, 2, 4, 4, dtype=torch.float64)
    mixed = hand_built(v_reset=None)
    mixed[1] = neuron.LIFNode(v_reset=None)
    with pytest.raises(InputError, match="one kind"):
        from_spikingjelly(mixed, 4, example_inputs=x)
    other = hand_built(v_reset=None)
    other[1] = neuron.ParametricLIFNode()
    with pytest.raises(InputError, match="ParametricLIFNode"):
        from_spikingjelly(other, 4, example_inputs=x)
    with pytest.raises(InputError, match="no neurons"):
        from_spikingjelly(nn.Linear(3, 3), 4, example_inputs=torch.rand(2, 3))
