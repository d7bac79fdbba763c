"""A converted network stays what it is, whatever becomes of the network that it came from."""

import pytest
import torch
from torch import nn

import snnconvert
from snnconvert.checkpoint.checkpoint import Checkpoint
from snnconvert.conversion.finetune import finetune
from snnconvert.conversion.graph.owned import ALIGNMENT, owned
from snnconvert.operators.clip import QuantizedClip

X = torch.randn(4, 3, 6, 6, generator=torch.Generator().manual_seed(0))


class Net(nn.Module):
    """Weights that fold (conv and norm), that do not, that are tied, and one that is no buffer."""

    def __init__(self, act=nn.ReLU):
        super().__init__()
        self.conv, self.norm = nn.Conv2d(3, 8, 3, padding=1), nn.BatchNorm2d(8)
        self.alone, self.late = nn.Conv2d(8, 8, 1), nn.BatchNorm2d(8)
        self.one, self.two = nn.Linear(8, 8), nn.Linear(8, 8)
        self.two.weight = self.one.weight
        self.act, self.act2, self.act3 = act(), act(), act()
        self.table = torch.rand(8)

    def forward(self, x):
        x = self.act(self.norm(self.conv(x)))
        x = self.late(self.act2(self.alone(x)))
        return self.two(self.act3(self.one(x.mean((2, 3)) * self.table)))


def net(act=nn.ReLU):
    torch.manual_seed(0)
    model = Net(act).eval()
    for norm in (model.norm, model.late):
        norm.running_mean.uniform_(-0.1, 0.1)
        norm.running_var.uniform_(0.5, 1.5)
    return model


ORIGINS = {
    "float": net,
    "trained quantised": lambda: net(lambda: QuantizedClip(8)),
    "made by quantize": lambda: snnconvert.quantize(net(), 8, example_inputs=X),
}
OPTIONS = {
    "immediate": {},
    "radix": {"code": "radix"},
    "uncorrected": {"bias_correction": False},
    "starts": {"v_init": "optimised"},
}


def converted(model, **options):
    return snnconvert.convert(model, 8, example_inputs=X, calibration=[X], **options)


def tensors_of(model):
    return [*model.parameters(), *model.buffers(), *(v for v in [getattr(model, "table", None)]
                                                      if isinstance(v, torch.Tensor))]  # fmt: skip


def disturb(model):
    with torch.no_grad():
        for value in tensors_of(model):
            if value.is_floating_point():
                value.mul_(1.7).add_(0.3)


def storages(tensors):
    return {value.untyped_storage().data_ptr() for value in tensors}


TRAINED = [name for name in ORIGINS if name != "float"]  # they have no fitted starts
PAIRS = [(o, p) for o in ORIGINS for p in OPTIONS if not (p == "starts" and o in TRAINED)]


def held(tensors):
    """Bytes, each memory counted once."""
    memories = (value.untyped_storage() for value in tensors)
    return sum({memory.data_ptr(): memory.nbytes() for memory in memories}.values())


@pytest.mark.parametrize(("origin", "options"), PAIRS)
def test_nothing_that_happens_to_the_ann_reaches_the_snn(origin, options, tmp_path):
    model = ORIGINS[origin]()
    snn = converted(model, **OPTIONS[options])
    wanted = snn(X)
    assert storages(tensors_of(model)).isdisjoint(storages(snn.buffers()))
    disturb(model)
    assert torch.equal(snn(X), wanted)
    assert torch.equal(snn.quantized_ann()(X), wanted)
    snnconvert.save(snn, tmp_path / "snn.pt")
    assert torch.equal(snnconvert.load(tmp_path / "snn.pt")(X), wanted)


@pytest.mark.parametrize("change", ["load_state_dict", "optimiser step"])
def test_training_the_ann_on_leaves_the_snn(change):
    model, other = net(), net()
    disturb(other)
    snn = converted(model)
    wanted = snn(X)
    if change == "load_state_dict":
        model.load_state_dict(other.state_dict())
    else:
        model.train()
        model(X).square().sum().backward()
        torch.optim.SGD(model.parameters(), 0.5).step()
    assert torch.equal(snn(X), wanted)


def test_weights_loaded_into_the_snn_leave_the_ann():
    model = net()
    before = model(X)
    snn = converted(model)
    snn.load_state_dict({key: value * 2 + 1 for key, value in snn.state_dict().items()})
    assert torch.equal(model(X), before)


def test_quantize_shares_nothing_either():
    model = net()
    before = model(X)
    qann = snnconvert.quantize(model, 8, example_inputs=X)
    assert storages(tensors_of(model)).isdisjoint(storages(tensors_of(qann)))
    qann.train()
    qann(X)  # its norms take up the statistics of this batch
    assert torch.equal(model(X), before)


def test_tied_weights_stay_tied():
    model = net()
    qann = snnconvert.quantize(model, 8, example_inputs=X)
    assert qann.one.weight is qann.two.weight
    qann(X).square().mean().backward()
    torch.optim.SGD(qann.parameters(), 0.1).step()
    state = qann.state_dict()
    assert torch.equal(state["one.weight"], state["two.weight"])
    assert not torch.equal(state["one.weight"], model.one.weight)


def test_finetuning_leaves_the_network_that_it_starts_from():
    snn = converted(net(), settle=0)
    tuned = finetune(snn, [X], steps=1, progress=False)
    assert storages(snn.buffers()).isdisjoint(storages(tuned.buffers()))


def test_a_copy_is_as_large_as_what_it_copies():
    model = net()
    snn = converted(model)
    own = sum(
        t.untyped_storage().nbytes() for t in {t.data_ptr(): t for t in snn.buffers()}.values()
    )
    weights = {t.data_ptr(): t for t in tensors_of(model)}.values()
    thresholds = sum(cell.ceiling.numel() for cell in snn.neurons.values()) * 4
    assert own <= sum(t.untyped_storage().nbytes() for t in weights) + thresholds
    shared = converted(model, share=True)
    assert not storages([model.one.weight]).isdisjoint(storages(shared.buffers()))
    assert torch.equal(shared(X), snn(X))
    disturb(model)
    assert not torch.equal(shared(X), snn(X))


def test_networks_from_one_file_are_apart(tmp_path):
    snn = converted(net())
    snnconvert.save(snn, tmp_path / "snn.pt")
    checkpoint = Checkpoint.read(tmp_path / "snn.pt")
    disturb(checkpoint.network())
    assert torch.equal(checkpoint.network()(X), snn(X))


def test_weights_begin_where_those_of_a_copy_do():
    """Kernels are chosen by the address of a weight too, so a file's network would differ."""
    behind = torch.randn(1 + 5 * 7)[1:].view(5, 7)  # 4 bytes behind what PyTorch allocates
    assert behind.data_ptr() % ALIGNMENT
    (kept,) = owned({"weight": behind}, ()).values()
    assert kept.data_ptr() % ALIGNMENT == 0 and torch.equal(kept, behind)
    fine = torch.randn(5, 7)
    assert owned({"weight": fine}, ())["weight"] is fine
    model, x = nn.Sequential(nn.Linear(7, 5), nn.ReLU(), nn.Linear(5, 2)).eval(), torch.randn(3, 7)
    model[0].weight.data = behind
    network = snnconvert.quantize(model, 4, example_inputs=x).eval()
    snn = snnconvert.convert(model, 4, example_inputs=x, calibration=[x])
    for held in (network.constants, snn.constants, snn.quantized_ann().constants):
        assert all(value.data_ptr() % ALIGNMENT == 0 for value in held.values())
