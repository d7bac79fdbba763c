"""NIR graphs: read back and simulated by another interpreter, they fire the same spikes."""

from __future__ import annotations

import warnings

import numpy as np
import pytest
import torch
from torch import nn

import snnconvert
from snnconvert.conversion.spiking.plain_simulation import PlainSimulation
from snnconvert.errors import InputError, UnsupportedOpError
from snnconvert.exchange.nir import to_nir
from snnconvert.operators.clip import QuantizedClip
from tests.support.spiking_networks import pair, settled

nir = pytest.importorskip("nir")
nirtorch = pytest.importorskip("nirtorch")


def network() -> nn.Module:
    torch.manual_seed(0)
    return settled(
        nn.Sequential(
            nn.Conv2d(2, 6, 3, padding=1), QuantizedClip(4, 6), nn.AvgPool2d(2),
            nn.Conv2d(6, 8, 3, stride=2, padding=1), QuantizedClip(4, 8), nn.Flatten(),
            nn.Linear(32, 10), QuantizedClip(4), nn.Linear(10, 5),
        )
    ).double()  # fmt: skip


class Neurons(nn.Module):
    """IF or LIF as the metadata of the graph says; keeps its spikes."""

    def __init__(self, node, facts) -> None:
        super().__init__()
        self.threshold = torch.from_numpy(np.array(node.v_threshold)).double()
        self.keep = 1 - 1 / float(node.tau.flat[0]) if isinstance(node, nir.LIF) else 1.0
        self.hard, self.start = facts["reset"] == "zero", float(facts["v_init"])
        self.train_, self.v = [], None

    def forward(self, x):
        v = (self.start * self.threshold).expand_as(x) if self.v is None else self.v
        v = self.keep * v + x
        spikes = (v >= self.threshold).to(x)
        self.v = v * (1 - spikes) if self.hard else v - spikes * self.threshold
        self.train_.append(spikes)
        return spikes


def simulated(graph, x, facts, timesteps):
    """Output and spikes by nirtorch's interpreter under our map of neurons."""
    made = []

    def neurons(node):
        made.append(Neurons(node, facts))
        return made[-1]

    def affine(node):  # nirtorch's own leaves the bias at random
        made = nn.Linear(node.weight.shape[1], node.weight.shape[0])
        made.weight.data, made.bias.data = torch.tensor(node.weight), torch.tensor(node.bias)
        return made

    def flatten(node):  # nirtorch's own counts axes without the batch
        return nn.Flatten(node.start_dim + 1, node.end_dim)

    kinds = {nir.IF: neurons, nir.LIF: neurons, nir.Flatten: flatten, nir.Affine: affine}
    module = nirtorch.nir_to_torch(graph, kinds, dtype=torch.float64).double()
    total = 0
    for _ in range(timesteps):
        y = module(x)
        total = total + (y[0] if isinstance(y, tuple) else y)
    return total / timesteps, [torch.stack(neuron.train_) for neuron in made]


@pytest.mark.parametrize("options", [{}, {"v_reset": 0.0}])
def test_spikes_are_equal_after_reading_back(options, tmp_path):
    x = torch.randn(3, 2, 8, 8, dtype=torch.float64)
    snn = snnconvert.convert(
        network(), 4, example_inputs=x, signed=False, settle=0, **options
    )  # fmt: skip
    with pytest.warns(UserWarning, match=r"snnTorch.*Norse.*spikingjelly.*sinabs"):
        written = to_nir(snn, tmp_path / "network.nir")
    graph = nir.read(tmp_path / "network.nir")
    assert set(graph.nodes) == set(written.nodes) and set(graph.edges) == set(written.edges)
    for node in graph.nodes.values():
        if isinstance(node, nir.IF):
            assert (node.v_threshold == 1).all()
    wanted = PlainSimulation(snn).run(x, steps=4)
    output, trains = simulated(graph, x, written.metadata, 4)
    torch.testing.assert_close(output, wanted.output)
    for ours, theirs in zip(wanted.trains.values(), trains, strict=True):
        assert torch.equal(ours.double(), theirs)


def test_what_nir_cannot_express_is_named_at_once():
    _, _, cnn = pair("cnn", 4)
    with pytest.raises(UnsupportedOpError, match=r"group_norm.*signed.*branches"):
        to_nir(cnn)
    _, _, mlp = pair("mlp", 4)
    with pytest.raises(InputError, match=r"signed.*settle"):
        to_nir(mlp)
    with pytest.raises(InputError, match="no converted network"):
        to_nir(network())


def test_unsigned_chain_needs_nothing_else():
    _, _, mlp = pair("mlp", 4)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        graph = to_nir(mlp.with_config(signed=False, settle=0))
    assert [type(n).__name__ for n in graph.nodes.values()].count("IF") == 2
