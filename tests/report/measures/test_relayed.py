"""What follows a max pool is charged for what the pool really passes on: spikes."""

import pytest
import torch
from torch import nn
from torch.nn import functional

import snnconvert
from snnconvert.report.measures.cost import count_cost

X = torch.randn(4, 3, 8, 8, generator=torch.Generator().manual_seed(0))
T = 6


class Net(nn.Module):
    """`pool` between the first neurons and the second weights."""

    def __init__(self, pool, wide=8):
        super().__init__()
        self.first, self.act, self.pool = nn.Conv2d(3, 8, 3, padding=1), nn.ReLU(), pool
        self.second, self.act2 = nn.Conv2d(wide, 8, 3, padding=1), nn.ReLU()
        self.last = nn.Linear(8, 2)

    def forward(self, x):
        x = self.act2(self.second(self.pool(self.act(self.first(x)))))
        return self.last(x.mean((2, 3)))


def converted(pool, wide=8, **options):
    torch.manual_seed(0)
    network = Net(pool, wide).eval()
    return snnconvert.convert(network, T, example_inputs=X, calibration=[X], **options)


class Of(nn.Module):
    """A function as a module."""

    def __init__(self, function):
        super().__init__()
        self.function = function

    def forward(self, x):
        return self.function(x)


def changes(values):
    """How many values change from step to step, from zero, summed over the steps."""
    before = torch.cat([torch.zeros_like(values[:1]), values[:-1]])
    return (values != before).sum(0)


def passed_on(snn, pool, run):
    """Spikes behind `pool`, counted by hand from the trains."""
    train = run.trains["act"].double()
    if snn.config.norm == "per_step":
        return sum((pool(spikes) != 0).sum() for spikes in train)
    if snn.config.code == "radix":
        places = 2 ** torch.arange(T - 1, -1, -1).repeat(len(train) // T)
        train = train * places.view(-1, 1, 1, 1, 1)
    pooled = torch.stack([pool(counts) for counts in train.cumsum(0)])
    return changes(pooled).sum()


WAYS = {
    "until silence": {},
    "T steps": {"settle": 0, "signed": False},
    "deferred": {"firing": "deferred"},
    "radix": {"code": "radix"},
    "leaky": {"neuron": "lif"},
    "hard reset": {"v_reset": 0.0},
    "per step": {"norm": "per_step"},
    "one threshold": {"per_channel": False},
}
POOLS = {
    "max_pool2d": nn.MaxPool2d(2),
    "overlapping": nn.MaxPool2d(3, 2, 1),
    "padded by hand": Of(lambda x: functional.max_pool2d(functional.pad(x, (0, 1, 0, 1)), 2)),
    "of the smallest": Of(lambda x: -functional.max_pool2d(-x, 2)),
    "with indices": Of(lambda x: functional.max_pool2d(x, 2, return_indices=True)[0]),
    "adaptive": nn.AdaptiveMaxPool2d(4),
    "max of a view": Of(lambda x: x.unflatten(3, (4, 2)).max(-1)[0]),
    "windows": Of(lambda x: x.unfold(2, 2, 2).unfold(3, 2, 2).flatten(4).max(-1)[0]),
    "least of two": Of(lambda x: torch.minimum(x, x.flip(3))),
    "twice": nn.Sequential(nn.MaxPool2d(2), nn.Identity(), nn.MaxPool2d(2)),
}


@pytest.mark.parametrize(
    ("way", "pool"), [(w, "max_pool2d") for w in WAYS] + [("until silence", p) for p in POOLS]
)
def test_the_cost_behind_a_max_pool_is_that_of_its_spikes(way, pool):
    snn = converted(POOLS[pool], **WAYS[way])
    run = snn.run(X, record="spikes")
    cost = count_cost(snn, (X,), run)
    fan_out = 8 * 3 * 3  # every spike reaches so many synapses; padding counts, as everywhere
    acs = passed_on(snn, POOLS[pool], run) * fan_out / len(X)
    assert acs > 0
    assert cost.acs == pytest.approx(float(acs), rel=1e-6)
    first = 8 * 8 * 8 * 3 * 3 * 3  # on the image: no spikes, once a call
    steps = 1 if snn.config.firing == "deferred" else run.steps
    assert cost.macs == first + 8 * 2 * steps  # and the read-out of a mean
    assert cost.spike_driven_macs == cost.ann_macs - first - 8 * 2


def test_a_pool_passes_on_fewer_spikes_than_reach_it_and_far_fewer_than_currents():
    snn = converted(nn.MaxPool2d(2))
    run = snn.run(X, record="counts")
    (relayed,) = run.relayed.values()
    assert 0 < relayed.sum() < run.emitted["act"].sum()
    found, average = count_cost(snn, (X,), run), converted(nn.AvgPool2d(2))
    currents = count_cost(average, (X,), average.run(X, record="counts"))
    assert found.to_dict(T)["energy_snn_mj"] < 0.5 * currents.to_dict(T)["energy_snn_mj"]
    assert snn.run(X).relayed == {}


CURRENTS = {
    "across thresholds": (Of(lambda x: x.amax(1, keepdim=True)), 1),
    "average": (nn.AvgPool2d(2), 8),
    "softmax": (Of(lambda x: x.softmax(1)), 8),
}


@pytest.mark.parametrize("pool", CURRENTS)
def test_what_moves_by_other_steps_stays_a_current(pool):
    function, wide = CURRENTS[pool]
    cost = count_cost(snn := converted(function, wide), (X,), snn.run(X, record="counts"))
    assert cost.spike_driven_macs == 0 and cost.acs == 0


def test_across_channels_of_one_threshold_it_is_spikes():
    snn = converted(CURRENTS["across thresholds"][0], 1, per_channel=False)
    run = snn.run(X, record="spikes")
    acs = passed_on(snn, lambda x: x.amax(1, keepdim=True), run) * 8 * 9 / len(X)
    assert count_cost(snn, (X,), run).acs == pytest.approx(float(acs), rel=1e-6)


def test_a_run_that_is_carried_on_pays_for_changes_only():
    pool = nn.MaxPool2d(2)
    snn = converted(pool, reset="trajectory")
    start = snn.run(X).counts["act"].double()
    run = snn.run(X + 0.1, record="spikes")
    counts = start + run.trains["act"].double().cumsum(0)
    pooled = torch.stack([pool(n) for n in (start, *counts)])
    moved = (pooled[1:] != pooled[:-1]).sum()
    assert moved > 0 and float(next(iter(run.relayed.values())).sum()) == float(moved)
    snn.run(X + 0.1)
    again = snn.run(X + 0.1, record="counts")
    assert not any(value.any() for value in again.relayed.values())
