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


class Residual(nn.Module):
    """A sum of spikes, groups, both kinds of pools, norms."""

    def __init__(self, make) -> None:
        super().__init__()
        self.head = nn.Sequential(layer.Conv2d(2, 6, 3, padding=1), layer.BatchNorm2d(6))
        self.body = nn.Sequential(layer.Conv2d(6, 6, 3, padding=1, groups=3), layer.BatchNorm2d(6))
        self.first, self.second, self.third = make(), make(), make()
        self.tail = nn.Sequential(
            layer.MaxPool2d(2), layer.Conv2d(6, 4, 1), self.third, layer.AvgPool2d(2),
            layer.Flatten(), layer.Linear(16, 5),
        )  # fmt: skip

    def forward(self, x):
        h = self.first(self.head(x))
        return self.tail(h + self.second(self.body(h)))


def in_containers(make):
    return nn.Sequential(
        layer.SeqToANNContainer(nn.Conv2d(2, 6, 3, padding=1), nn.BatchNorm2d(6)), make(),
        layer.SeqToANNContainer(nn.AvgPool2d(2), nn.Flatten(), nn.Linear(96, 8)), make(),
        layer.SeqToANNContainer(nn.Linear(8, 5)),
    )  # fmt: skip


@pytest.mark.parametrize("build", [Residual, in_containers])
@pytest.mark.parametrize(
    "make",
    [lambda: neuron.IFNode(v_reset=None), lambda: neuron.HalfThresholdIFNode(),
     lambda: neuron.LIFNode(tau=3.0, v_threshold=0.3, decay_input=False)],
    ids=["if", "half", "lif"],
)  # fmt: skip
@torch.no_grad()
def test_networks_that_run_over_time_come_in(build, make):
    """Spike counts of every layer are those of their own run in step mode "m"."""
    torch.manual_seed(0)
    net, x = build(make).double().eval(), torch.rand(3, 2, 8, 8, dtype=torch.float64)
    for module in net.modules():
        if isinstance(module, nn.BatchNorm2d):
            module.running_var.fill_(0.1)
    functional.set_step_mode(net, "m")
    snn = from_spikingjelly(net, 6, example_inputs=x)
    counts = {}
    for name, module in net.named_modules():
        if isinstance(module, neuron.BaseNode):
            module.register_forward_hook(
                lambda _m, _i, spikes, name=name: counts.update({name: spikes.sum(0)})
            )
    functional.reset_net(net)
    wanted = net(x.expand(6, *x.shape)).mean(0)
    run = snn.run(x)
    torch.testing.assert_close(run.output, wanted, rtol=1e-6, atol=1e-6)
    assert len(counts) == len(run.counts)
    for ours, theirs in zip(run.counts.values(), counts.values(), strict=True):
        assert torch.equal(ours.to(theirs), theirs) and bool(theirs.any())


class OverTime(nn.Module):
    """Repeats its input, or averages over time, by itself."""

    def __init__(self, repeats: bool) -> None:
        super().__init__()
        self.repeats = repeats
        self.net = nn.Sequential(layer.Linear(4, 8), neuron.IFNode(v_reset=None))
        functional.set_step_mode(self, "m")

    def forward(self, x):
        return self.net(x.repeat(4, 1, 1) if self.repeats else x).mean(0)


@pytest.mark.parametrize("repeats", [True, False])
def test_time_inside_forward_is_refused(repeats):
    with pytest.raises(InputError, match="one result a time step"):
        from_spikingjelly(OverTime(repeats).eval(), 4, example_inputs=torch.rand(3, 4))


@pytest.mark.parametrize(
    "options",
    [
        {"mode": "99.9%"},
        {"mode": 0.5},
        {"mode": "max", "channel_wise": True, "half_threshold": True},
    ],
    ids=str,
)
@torch.no_grad()
def test_each_mode_of_its_own_conversion_comes_in(options):
    from spikingjelly.activation_based.ann2snn import Converter, RateCodingRecipe

    torch.manual_seed(0)
    ann = nn.Sequential(
        nn.Conv2d(2, 6, 3, padding=1), nn.ReLU(), nn.Flatten(), nn.Linear(96, 5)
    ).double().eval()  # fmt: skip
    x = torch.rand(8, 2, 4, 4, dtype=torch.float64)
    net = Converter(RateCodingRecipe([(x, None)], **options)).convert(ann).double().eval()
    snn = from_spikingjelly(net, 8, example_inputs=x)
    torch.testing.assert_close(snn(x), by_itself(net, x, 8), rtol=1e-6, atol=1e-6)


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
