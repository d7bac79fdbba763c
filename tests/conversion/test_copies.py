"""Networks copied, pickled, written by `torch.save` and sent to other processes."""

import copy
import io
import pickle
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context

import pytest
import torch
from torch import nn

import snnconvert
from snnconvert.errors import InputError
from snnconvert.neurons.spiking import spiking

X = torch.randn(2, 3, 6, 6, generator=torch.Generator().manual_seed(0))


class Two(nn.Module):
    """Arguments by name, results by key, batch norm, several inputs to one operation."""

    def __init__(self):
        super().__init__()
        self.first, self.norm, self.second = (
            nn.Conv2d(3, 8, 3), nn.BatchNorm2d(8), nn.Conv2d(8, 4, 3, padding=1)
        )  # fmt: skip
        self.third = nn.Conv2d(8, 4, 3)

    def forward(self, x, shift=None):
        x = self.norm(self.first(x)).relu()
        y = torch.cat([self.second(x), self.second(x + shift[:, None, None, None])], 1).relu()
        return {"y": self.third(y), "size": y.mean((1, 2, 3))}


CALL = {"x": X, "shift": torch.tensor([0.1, 0.2])}


def through_torch_save(network):
    file = io.BytesIO()
    torch.save(network, file)
    file.seek(0)
    return torch.load(file, weights_only=False)


WAYS = {
    "deepcopy": copy.deepcopy,
    "pickle": lambda network: pickle.loads(pickle.dumps(network)),
    "torch.save": through_torch_save,
}


def model():
    torch.manual_seed(0)
    return Two().eval()


def snn(**options):
    return snnconvert.convert(model(), 4, example_inputs=CALL, calibration=[CALL], **options)


NETWORKS = {
    "snn": snn,
    "snn by counts": lambda: snn(simulate="counts"),
    "deferred": lambda: snn(code="radix"),
    "leaky": lambda: snn(neuron="lif"),
    "carried on": lambda: snn(reset="trajectory"),
    "its quantised ANN": lambda: snn().quantized_ann(),
    "quantised": lambda: snnconvert.quantize(model(), 4, example_inputs=CALL).eval(),
}


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("kind", NETWORKS)
def test_a_copy_computes_the_same_and_is_apart(kind, way):
    network = NETWORKS[kind]()
    if (own := spiking(network)) is not None:
        own.keep_history()
    wanted = network(**CALL)  # after a call, so that everything that is made late is there
    twin = WAYS[way](network)
    found = twin(**CALL)
    assert all(torch.equal(found[key], wanted[key]) for key in wanted)
    assert twin.state_dict().keys() == network.state_dict().keys()
    with torch.no_grad():
        for value in (*twin.parameters(), *twin.buffers()):
            value.zero_()
    assert not torch.equal(twin(**CALL)["y"], wanted["y"]) or kind == "carried on"
    assert all(torch.equal(network(**CALL)[key], wanted[key]) for key in wanted)


def call(network):
    return network(**CALL)["y"]


def test_a_pool_of_processes_computes_the_same():
    network = snn()
    with ProcessPoolExecutor(1, mp_context=get_context("spawn")) as pool:
        assert torch.equal(pool.submit(call, network).result(), call(network))


def test_a_failed_save_leaves_what_was_there(tmp_path):
    path = tmp_path / "net.snn.pt"
    network = snn()
    snnconvert.save(network, path)
    before = path.read_bytes()
    with pytest.raises(InputError):
        snnconvert.save(nn.Linear(2, 2), path)
    network.calibration["note"] = lambda: None  # nothing that a file may hold
    with pytest.raises((AttributeError, pickle.PicklingError, InputError)):
        snnconvert.save(network, path)
    assert path.read_bytes() == before and list(tmp_path.iterdir()) == [path]
