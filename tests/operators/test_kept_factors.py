"""What neurons keep from call to call never outlives what it was made of."""

import copy
from concurrent.futures import ThreadPoolExecutor

import pytest
import torch
from torch import nn

import snnconvert
from snnconvert.neurons.integrate_and_fire import IF
from snnconvert.operators.clip import counts_per_unit, quantized_clip

X = torch.randn(4, 3, 8, 8, generator=torch.Generator().manual_seed(0))


def snn(**options):
    torch.manual_seed(1)
    model = nn.Sequential(
        nn.Conv2d(3, 6, 3), nn.ReLU(), nn.Conv2d(6, 5, 3), nn.ReLU(), nn.Flatten()
    )
    return snnconvert.convert(model.eval(), 4, example_inputs=(X,), calibration=[(X,)], **options)


def thresholds(network):
    return [cell.v_threshold for cell in network.neurons.values()]


def doubled(network):
    for threshold in thresholds(network):
        threshold.mul_(2)


def doubled_unseen(network):
    for threshold in thresholds(network):
        threshold.data.mul_(2)


def loaded(network):
    state = {k: 2 * v if v.is_floating_point() else v for k, v in network.state_dict().items()}
    network.load_state_dict(state)


def in_double(network):
    network.double()


def replaced(network):
    for name, value in list(network._buffers.items()):
        if any(value is threshold for threshold in thresholds(network)):
            setattr(network, name, value * 2)


CHANGES = (doubled, doubled_unseen, loaded, in_double, replaced)


@pytest.mark.parametrize("options", [
    {"simulate": "counts"}, {"firing": "immediate"}, {"firing": "deferred"}, {"code": "radix"},
    {"simulate": "counts", "v_init": "optimised"},
], ids=str)  # fmt: skip
@pytest.mark.parametrize("change", CHANGES)
def test_a_changed_network_answers_as_one_that_was_never_called(change, options):
    network, fresh = snn(**options), snn(**options)
    before = network(X)
    for each in (network, fresh):
        change(each)
    x = X.to(next(network.buffers()).dtype)
    after = network(x)
    assert torch.equal(after, fresh(x))
    assert not torch.equal(after, before.to(after.dtype))


def test_what_has_not_changed_is_not_made_again():
    network = snn(simulate="counts")
    made = []
    for _ in range(2):
        network(X)
        made.append([cell.factors(4, X).unit for cell in network.neurons.values()])
    first, second = made
    assert len(first) == 2 and all(a is b for a, b in zip(first, second, strict=True))


def test_changing_a_copy_leaves_the_network():
    network = snn(simulate="counts")
    before = network(X)
    other = copy.deepcopy(network)
    doubled(other)
    assert not torch.equal(other(X), before)
    assert torch.equal(network(X), before)


def test_one_call_may_follow_another_in_any_mode():
    network = snn(simulate="counts")
    with torch.inference_mode():
        first = network(X)
    cell = next(iter(network.neurons.values()))
    x = torch.randn(2, 6, 3, 3, requires_grad=True)
    (cell.value(x) * x).sum().backward()  # nothing of the inference is in the way of a gradient
    assert torch.equal(network(X), first)
    assert torch.equal(network(X[:1])[0], first[0])


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64, torch.bfloat16])
@pytest.mark.parametrize("shape", [(2, 5), (2, 5, 3), (2, 5, 3, 3)])
def test_one_layer_of_neurons_counts_values_of_every_kind(dtype, shape):
    ceiling = torch.rand(5, generator=torch.Generator().manual_seed(2)) + 0.5
    cell = IF(ceiling, 4)
    for _ in range(2):
        for other in (torch.randn(3, 5, dtype=torch.float64), torch.randn(shape).to(dtype)):
            assert torch.equal(cell.settled(other), quantized_clip(other, ceiling, 4))
            assert torch.equal(cell.factors(2, other).scale, counts_per_unit(ceiling, 2, other))


def test_a_threshold_that_learns_keeps_its_gradient():
    ceiling = torch.ones(5, requires_grad=True)
    cell = IF(ceiling, 4)
    counts = torch.full((2, 5), 3.0)
    with torch.no_grad():
        cell.value(counts)
    cell.value(counts).sum().backward()
    assert torch.equal(ceiling.grad, torch.full((5,), 2 * 3 / 4))


def test_threads_that_share_a_network_do_not_mix_their_times():
    """Thresholds that depend on t differ from call to call."""
    torch.manual_seed(0)

    class Denoiser(nn.Module):
        def __init__(self):
            super().__init__()
            self.first, self.last = nn.Conv2d(3, 6, 3, padding=1), nn.Conv2d(6, 3, 3, padding=1)

        def forward(self, x, t):
            return self.last((self.first(x) * (1 + t[:, None, None, None] / 10)).relu())

    times = [torch.full((4,), float(t)) for t in (0, 30, 60, 90)]
    network = snnconvert.convert(
        Denoiser().eval(), 4, example_inputs=(X, times[0]), calibration=[(X, t) for t in times],
        simulate="counts", thresholds_over_t=3,
    )  # fmt: skip
    alone = [network(X, t) for t in times]
    with ThreadPoolExecutor(4) as pool:
        for _ in range(10):
            for found, wanted in zip(pool.map(lambda t: network(X, t), times), alone, strict=True):
                assert torch.equal(found, wanted)
