"""One name a layer, unique and readable, the same wherever it is named."""

import warnings
from dataclasses import replace

import pytest
import torch
from torch import nn
from torch.nn import functional

import snnconvert
from snnconvert.conversion.convertible import convertible_of
from snnconvert.conversion.rules.layer_names import layer_names
from snnconvert.errors import InputError
from snnconvert.operators.clip import QuantizedClip

X = torch.randn(4, 3, 6, 6, generator=torch.Generator().manual_seed(0))


class Block(nn.Module):
    """Two activations that no module of their own makes, as in many residual networks."""

    def __init__(self):
        super().__init__()
        self.conv1, self.conv2 = nn.Conv2d(8, 8, 1), nn.Conv2d(8, 8, 1)

    def forward(self, x):
        return functional.relu(x + self.conv2(functional.relu(self.conv1(x))))


class Net(nn.Module):
    """One module called three times, one called once, and activations without a module."""

    def __init__(self, act):
        super().__init__()
        self.conv1, self.norm, self.conv2 = (
            nn.Conv2d(3, 8, 1), nn.BatchNorm2d(8), nn.Conv2d(8, 8, 1)
        )  # fmt: skip
        self.block, self.fc1, self.fc2 = Block(), nn.Linear(8, 8), nn.Linear(8, 2)
        self.act, self.last = act(), act()

    def forward(self, x):
        x = self.act(self.norm(self.conv1(x)))
        x = self.act(self.conv2(x))
        x = self.act(self.block(x))
        x = functional.relu(self.fc1(x.mean((2, 3))))
        return self.fc2(self.last(x))


ACT = ["act#1 (after conv1)", "act#2 (after conv2)", "act#3 (after block.conv2)"]
BLOCK = ["block#1 (after block.conv1)", "block#2 (after block.conv2)"]


def net(act=nn.ReLU):
    torch.manual_seed(0)
    model = Net(act).eval()
    for layer in (model.conv1, model.fc1):
        layer.weight.data[3] = 0
        layer.bias.data[3] = -1
    return model


def converted(model, **options):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return snnconvert.convert(model, 4, example_inputs=X, calibration=[X, X + 1], **options)


@pytest.mark.parametrize("act", [nn.ReLU, nn.SiLU, nn.Tanh])
def test_a_layer_has_one_name_everywhere(act):
    model = net(act)
    snn = converted(model)
    names = list(snn.neurons)
    assert [n for n in names if n.startswith("act")] == ACT
    assert [n for n in names if n.startswith("block")] == BLOCK
    assert "last" in names and len(set(names)) == len(names)
    run = snn.run(X, record="spikes")
    for held in (run.trains, run.counts, run.inputs, run.emitted, run.neurons):
        assert list(held) == names
    assert list(snn.layers) == list(snn.functions) == names
    report = snnconvert.compare(model, snn, [X]).to_dict()
    assert [row["name"] for row in report["layers"]] == names
    dead, unsettled = snn.calibration["dead_channels"], snn.calibration["unsettled"]
    assert {*dead, *unsettled} <= set(names)
    if act is nn.ReLU:
        assert dead[ACT[0]] == [3] and dead.get(ACT[1]) != [3]  # each layer's own


def test_a_module_may_be_called_what_another_would_be():
    program = converted(net()).program
    called = {node.name: ACT[1] for node in program.nodes if node.layer == "last"}
    nodes = tuple(replace(n, layer=called.get(n.name, n.layer)) for n in program.nodes)
    names = list(layer_names(replace(program, nodes=nodes)).values())
    assert len(set(names)) == len(names) and f"{ACT[1]}'" in names


def test_names_survive_quantising_training_files_and_other_ways_to_spike(tmp_path):
    model = net()
    names = list(converted(model).neurons)
    sites = convertible_of(model, X).sites
    assert [site.layer for site in sites] == names
    qann = snnconvert.quantize(model, 4, example_inputs=X)
    snn = converted(qann)
    assert list(snn.neurons) == names
    assert list(snn.with_config(firing="deferred").neurons) == names
    assert list(snn.scale_thresholds(0.9).neurons) == names
    snnconvert.save(snn, tmp_path / "snn.pt")
    assert list(snnconvert.load(tmp_path / "snn.pt").neurons) == names


def test_trained_clips_are_named_alike():
    snn = converted(net(lambda: QuantizedClip(4)))
    assert [n for n in snn.neurons if n.startswith("act")] == ACT


def test_refusals_say_which_layer():
    model = net(nn.Tanh)
    with pytest.raises(InputError, match=r"act#1 \(after conv1\)"):
        converted(model, neuron="lif")
    with pytest.raises(InputError, match=r"act#1 \(after conv1\)"):
        snnconvert.convert(net(), 4, example_inputs=X)
    qann = snnconvert.quantize(net(), 4, example_inputs=X)
    with torch.no_grad():
        next(p for n, p in qann.named_parameters() if n == "act.relu_1_ceiling").zero_()
    with pytest.raises(InputError, match=r"act#2 \(after conv2\)"):
        converted(qann)


def test_functions_of_the_time_share_no_name_with_neurons():
    class Denoiser(nn.Module):
        def __init__(self):
            super().__init__()
            self.first, self.time, self.last = nn.Linear(2, 8), nn.Linear(1, 8), nn.Linear(8, 2)
            self.time2, self.act = nn.Linear(8, 8), nn.SiLU()

        def forward(self, x, t):
            shift = self.time2(self.act(self.time(t[:, None] / 1000)))
            return self.last(self.act(self.first(x) + shift))

    torch.manual_seed(0)
    batch = (torch.randn(8, 2), torch.linspace(0, 999, 8))
    model = Denoiser().eval()
    snn = snnconvert.convert(model, 4, example_inputs=batch, calibration=[batch])
    assert snn.functions_of_time == ["act#1 (after time)"]
    assert list(snn.neurons) == ["act#2 (after first)"]
    report = snnconvert.compare(model, snn, [batch]).to_dict()
    assert report["neurons"]["functions_of_time"] == snn.functions_of_time
