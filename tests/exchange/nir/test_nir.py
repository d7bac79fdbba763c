"""NIR graphs: read back and simulated by another interpreter, they fire the same spikes."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import nn
from torch.nn import functional as F

import snnconvert
from snnconvert.conversion.spiking.plain_simulation import PlainSimulation
from snnconvert.errors import InputError, UnsupportedOpError
from snnconvert.exchange.nir.export import to_nir
from snnconvert.operators.clip import QuantizedClip
from tests.support.spiking_networks import pair, settled

nir = pytest.importorskip("nir")
nirtorch = pytest.importorskip("nirtorch")


def chain() -> nn.Module:
    return nn.Sequential(
        nn.Conv2d(2, 6, 3, padding=1), QuantizedClip(4, 6), nn.AvgPool2d(2),
        nn.Conv2d(6, 8, 3, stride=2, padding=1), QuantizedClip(4, 8), nn.Flatten(),
        nn.Linear(32, 10), QuantizedClip(4), nn.Linear(10, 5),
    )  # fmt: skip


class Residual(nn.Module):
    """Sums, norms that fold and that do not, a shortcut without weights, groups, a wide kernel."""

    def __init__(self) -> None:
        super().__init__()
        self.head = nn.Sequential(nn.Conv2d(2, 6, 3, padding=1), nn.BatchNorm2d(6))
        self.acts = nn.ModuleList(QuantizedClip(4, c) for c in (6, 6, 12, 12))
        self.body = nn.Conv2d(6, 6, (1, 5), padding="same", groups=3)
        self.norm = nn.BatchNorm2d(6)
        self.down = nn.Conv2d(6, 12, 3, stride=2, padding=1)
        self.last = nn.Conv2d(12, 12, 3, padding=1, groups=12)
        self.tail = nn.Linear(12, 5)

    def forward(self, x):
        a = self.acts[0](self.head(x))
        b = self.acts[1](self.body(self.norm(a)) + a)
        short = F.pad(b[:, :, ::2, ::2], (0, 0, 0, 0, 3, 3))
        c = self.acts[2](self.down(b) - 0.5 * short)
        d = self.acts[3](c + self.last(c) + 0.1)
        return self.tail(d.mean((2, 3)))


class Branches(nn.Module):
    """Branches side by side along time, of which a convolution and a neuron read the whole."""

    def __init__(self) -> None:
        super().__init__()
        self.convs = nn.ModuleList(nn.Conv1d(2, n, k, padding=k // 2) for n, k in ((3, 3), (5, 1)))
        self.acts = nn.ModuleList(QuantizedClip(4, c) for c in (3, 8, 4))
        self.both = nn.Conv1d(8, 4, 3, dilation=2)
        self.tail = nn.Linear(8, 3)

    def forward(self, x):
        first, second = self.convs[0](x), self.convs[1](x)
        whole = torch.cat([self.acts[0](first), second], 1)
        whole = self.acts[1](whole / 2) + torch.cat([whole[:, 5:], whole[:, :5]], 1)
        return self.tail(F.avg_pool1d(self.acts[2](self.both(whole)), 2).flatten(1))


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

    def neurons(node):
        return Neurons(node, facts)

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
    made = {n: m for n, m in module.named_modules() if isinstance(m, Neurons)}
    in_order = sorted(made, key=lambda name: int(name.split("_")[0]))
    return total / timesteps, [torch.stack(made[name].train_) for name in in_order]


def converted(make, x, **options):
    torch.manual_seed(0)
    network = settled(make()).double()
    for module in network.modules():
        if isinstance(module, nn.BatchNorm2d):
            nn.init.uniform_(module.weight, 0.5, 1.5)
            nn.init.normal_(module.bias, 0, 0.2)
    return snnconvert.convert(
        network, 4, example_inputs=x, calibration=[x], signed=False, settle=0, **options
    )


NETWORKS = {"chain": (chain, (2, 8, 8)), "residual": (Residual, (2, 8, 8)),
            "branches": (Branches, (2, 8))}  # fmt: skip


@pytest.mark.parametrize("options", [{}, {"v_reset": 0.0}, {"neuron": "lif", "tau": 3.0}])
@pytest.mark.parametrize("name", NETWORKS)
@pytest.mark.filterwarnings("ignore:calibration")
def test_spikes_are_equal_after_reading_back(name, options, tmp_path):
    make, shape = NETWORKS[name]
    x = torch.randn(3, *shape, dtype=torch.float64)
    snn = converted(make, x, **options)
    with pytest.warns(UserWarning, match="NIR does not say"):
        written = to_nir(snn, tmp_path / "network.nir")
    graph = nir.read(tmp_path / "network.nir")
    assert set(graph.nodes) == set(written.nodes) and set(graph.edges) == set(written.edges)
    for node in graph.nodes.values():
        if isinstance(node, (nir.IF, nir.LIF)):
            assert (node.v_threshold == 1).all()
    wanted = PlainSimulation(snn).run(x, steps=4)
    output, trains = simulated(graph, x, written.metadata, 4)
    torch.testing.assert_close(output, wanted.output)
    assert len(trains) == len(wanted.trains) and all(bool(t.any()) for t in trains)
    for ours, theirs in zip(wanted.trains.values(), trains, strict=True):
        assert torch.equal(ours.double(), theirs)


@pytest.mark.filterwarnings("ignore:NIR")
@pytest.mark.parametrize("name", NETWORKS)
def test_spikingjelly_reads_what_it_can_say(name):
    """Its own reader, of neurons that reset to zero and start there."""
    exchange = pytest.importorskip("spikingjelly.activation_based.nir_exchange")
    make, shape = NETWORKS[name]
    x = torch.randn(3, *shape, dtype=torch.float64)
    snn = converted(make, x, v_reset=0.0, v_init=0.0)
    net = exchange.import_from_nir(to_nir(snn), dt=1.0, dtype=torch.float64)
    total, state = 0, None
    for _ in range(4):
        y, state = net(x, state)
        total = total + y
    torch.testing.assert_close(total / 4, PlainSimulation(snn).run(x, steps=4).output)


def test_the_warning_names_the_readers_that_go_wrong():
    x = torch.randn(3, 2, 8, 8, dtype=torch.float64)
    with pytest.warns(UserWarning, match=r"snnTorch.*Norse and spikingjelly.*sinabs.*0\.5"):
        to_nir(converted(Residual, x))
    with pytest.warns(UserWarning) as found:
        to_nir(converted(Residual, x, neuron="lif", v_reset=0.0, v_init=0.0))
    (words,) = (str(w.message) for w in found if "NIR" in str(w.message))
    assert not any(name in words for name in ("snnTorch", "Norse", "none has"))


class Inexpressible(nn.Module):
    """Several things at once that NIR does not have."""

    def __init__(self) -> None:
        super().__init__()
        self.conv, self.act = nn.Conv2d(2, 4, 3, padding=1), QuantizedClip(4)
        self.gate, self.last = nn.Conv2d(2, 4, 3, padding=1), nn.Linear(4, 3)

    def forward(self, x):
        h = self.act(self.conv(x)) * self.gate(x)
        return self.last(h[:, :, 1:]).flatten(1)


def test_what_nir_cannot_express_is_named_at_once():
    _, _, cnn = pair("cnn", 4)
    with pytest.raises(UnsupportedOpError, match=r"group_norm.*signed.*settle"):
        to_nir(cnn)
    _, _, mlp = pair("mlp", 4)
    with pytest.raises(InputError, match=r"signed.*settle"):
        to_nir(mlp)
    x = torch.randn(3, 2, 4, 4)
    snn = snnconvert.convert(settled(Inexpressible()), 4, example_inputs=x, settle=0)
    with pytest.raises(InputError, match=r"signed.*product"):
        to_nir(snn)
    with pytest.raises(InputError, match="no converted network"):
        to_nir(chain())


@pytest.mark.filterwarnings("ignore:NIR")
def test_unsigned_chain_needs_nothing_else():
    _, _, mlp = pair("mlp", 4)
    graph = to_nir(mlp.with_config(signed=False, settle=0))
    assert [type(n).__name__ for n in graph.nodes.values()].count("IF") == 2
