"""A solver's time reaches a network in the range and form that it takes, and so does the rest."""

from __future__ import annotations

import pytest
import torch
from torch import nn
from torch.nn.functional import embedding

import snnconvert
from snnconvert.diffusion.deviation import measure_correction
from snnconvert.diffusion.schedule import Schedule
from snnconvert.errors import InputError
from tests.support.planar import NormalDenoiser, points

STEPS = 100
LINEAR = Schedule.linear(STEPS, 1e-3, 0.1)
HOW = {"shape": (5, 2), "solver": "ddim", "steps": 4, "schedule": LINEAR, "grid": "uniform"}

pytestmark = pytest.mark.filterwarnings(
    "ignore:calibration has not converged", "ignore:.*zero on all"
)


class Timed(nn.Module):
    """(x, t) -> a prediction that depends on x, on the row of a table at t, and on a label."""

    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.table = nn.Parameter(torch.randn(STEPS, 2))
        self.up, self.down = nn.Linear(2, 16), nn.Linear(16, 2)
        self.labels = nn.Embedding(3, 2)

    def at(self, x, time, label=None):
        x = x if label is None else x + self.labels(label)
        return self.down(torch.relu(self.up(x + time)))


class Whole(Timed):
    def forward(self, x, t):
        return self.at(x, self.table[t])


class Column(Timed):
    def forward(self, x, t):
        return self.at(x, torch.cat([t, -t], 1) / STEPS)


class WholeColumn(Timed):
    def forward(self, x, t):
        return self.at(x, self.table[t.squeeze(1)])


class One(Timed):
    def forward(self, x, t):
        return self.at(x, torch.stack([t, -t]).reshape(2) / STEPS)


class OneWhole(Timed):
    def forward(self, x, t):
        # not self.table[t]: PyTorch 2.12 cannot capture an index that is a single number
        return self.at(x, embedding(t, self.table))


class Each(Timed):
    """The usual form, and a label that may be left out."""

    def forward(self, x, t, y=None):
        return self.at(x, torch.stack([t, -t], 1) / STEPS, y)


class Fraction(Timed):
    """Takes t from 0 to 1."""

    def forward(self, x, t):
        return self.at(x, torch.stack([t, -t], 1) * ((STEPS - 1) / STEPS))


class Tame(NormalDenoiser):
    """One whose samples stay where they belong; takes t from 0 to 1."""

    def forward(self, x, t):
        return super().forward(x, t * (STEPS - 1))


def rows(count=32):
    """Points, and times that reach both ends."""
    generator = torch.Generator().manual_seed(1)
    t = torch.linspace(0, STEPS - 1, count).round()
    return torch.randn(count, 2, generator=generator), t


def likewise(kind, other):
    """A network of that kind with the weights of `other`."""
    model = kind()
    model.load_state_dict(other.state_dict())
    return model.eval()


FORMS = {
    Whole: lambda t: t.long(),
    WholeColumn: lambda t: t.long()[:, None],
    Column: lambda t: t[:, None],
    One: lambda t: t[0],
    OneWhole: lambda t: t[0].long(),
}
USUAL = {Whole: Whole, WholeColumn: Whole, OneWhole: Whole, Column: Each, One: Each}


@pytest.mark.parametrize("kind", FORMS)
def test_every_form_of_time_is_sampled_before_and_after_conversion(kind):
    model = kind().eval()
    usual = likewise(USUAL[kind], model)
    call = usual if USUAL[kind] is Each else lambda x, t: usual(x, t.long())
    torch.testing.assert_close(snnconvert.sample(model, **HOW), snnconvert.sample(call, **HOW))
    x, t = rows()
    example = (x[:4], FORMS[kind](t[:4]))
    batches = [(x, t)]  # as a solver has them, whatever the network takes
    snn = snnconvert.convert(model, 8, code="radix", example_inputs=example, calibration=batches)
    apart = torch.cat([snn(x[i : i + 1], FORMS[kind](t[i : i + 1])) for i in range(len(x))])
    torch.testing.assert_close(snn(x, t), apart)
    one = {**HOW, "shape": (1, 2)}
    torch.testing.assert_close(snnconvert.sample(snn, **HOW)[:1], snnconvert.sample(snn, **one))
    report = snnconvert.compare(model, snn, [(x[:8], t[:8])]).to_dict()
    assert report["images"] == 8 and report["output"]["bit_equal"]
    found = measure_correction(snn, model, [x], LINEAR, times=3)
    assert float((found.slope - 1).abs().max()) < 0.1
    adaptive = {**HOW, "solver": "dpm-solver", "method": "adaptive", "grid": None}
    if not example[1].is_floating_point():
        for network in (model, snn):
            with pytest.raises(InputError, match="uniform"):
                snnconvert.sample(network, **{**HOW, "grid": [99.0, 20.5, 0.0]})
    elif kind is One:
        with pytest.raises(InputError, match="one time for all"):
            snnconvert.sample(model, **adaptive)
    else:
        assert bool(snnconvert.sample(model, **adaptive).isfinite().all())


def test_what_a_network_raises_by_itself_is_raised():
    def broken(x, t):
        raise ZeroDivisionError("of its own")

    with pytest.raises(ZeroDivisionError, match="of its own"):
        snnconvert.sample(broken, **HOW)
    with pytest.raises(InputError, match=r"returned \(5, 1\)"):
        snnconvert.sample(lambda x, t: x[:, :1], **HOW)


def test_a_network_of_scaled_times_samples_as_one_of_steps():
    steps = Each().eval()
    scaled = likewise(Fraction, steps)
    wanted = snnconvert.sample(steps, **HOW)
    how = {"rtol": 1e-5, "atol": 1e-5}
    torch.testing.assert_close(snnconvert.sample(scaled, **HOW, t_range=(0, 1)), wanted, **how)
    scaled.t_range = (0.0, 1.0)  # as it says of itself
    torch.testing.assert_close(snnconvert.sample(scaled, **HOW), wanted, **how)
    with pytest.raises(InputError, match="takes times from 0 to 1"):
        snnconvert.sample(scaled, **HOW, t_range=(0, 0.999))


def test_the_range_of_times_is_kept_with_a_network(tmp_path):
    model, steps = Tame(LINEAR).eval(), NormalDenoiser(LINEAR).eval()
    batches = snnconvert.noised(points(128), LINEAR, inputs=128, t_range=(0, 1))
    t = torch.cat([t for _, t in batches])
    assert (float(t.min()), float(t.max())) == (0, 1)
    path = snnconvert.SolverPath(LINEAR, samples=32, steps=4, t_range=(0, 1))
    how = {"example_inputs": batches[0], "calibration": batches}
    snn = snnconvert.convert(model, 8, path=path, **how)
    seen = snn.calibration["path"]["saturation"]["t"]
    assert seen[0] == 1 and min(seen) >= 0
    snnconvert.save(snn, tmp_path / "net.snn.pt")
    again = snnconvert.load(tmp_path / "net.snn.pt")
    assert again.t_range == snn.t_range == (0, 1)
    wanted = snnconvert.sample(lambda x, t: snn(x, t), **HOW, t_range=(0, 1))
    assert torch.equal(snnconvert.sample(again, **HOW), wanted)
    assert float((wanted - snnconvert.sample(steps, **HOW)).abs().max()) < 0.3
    curves = [
        snnconvert.eps_second_moment(network, [points(8)], LINEAR, times=3)
        for network in (again, lambda x, t: snn(x, t / (STEPS - 1)))
    ]
    torch.testing.assert_close(*curves)
    other = snnconvert.SolverPath(LINEAR, t_range=(0, 2))
    with pytest.raises(InputError, match="takes times"):
        snnconvert.convert(snn.quantized_ann(), 8, path=other, **how)


def test_calibration_at_other_times_than_those_of_the_solver_is_refused():
    model = Tame(LINEAR).eval()
    batches = snnconvert.noised(points(64), LINEAR, inputs=64, t_range=(0, 1))
    path = snnconvert.SolverPath(LINEAR, samples=16, steps=4)
    with pytest.raises(InputError, match=r"begins at t = 99, .* up to 1; .*t_range"):
        snnconvert.convert(model, 4, example_inputs=batches[0], calibration=batches, path=path)


@pytest.mark.parametrize("t_range", [(0, 0), (1,), "01", (0, float("nan")), 1.0])
def test_senseless_ranges_of_times_are_refused(t_range):
    for call in (
        lambda: snnconvert.sample(Each(), **HOW, t_range=t_range),
        lambda: snnconvert.SolverPath(LINEAR, t_range=t_range),
        lambda: snnconvert.noised(torch.zeros(2, 2), LINEAR, t_range=t_range),
    ):
        with pytest.raises(InputError, match="t_range"):
            call()


@pytest.mark.parametrize("solver", ["ddim", "ddpm", "adaptive"])
def test_each_sample_has_its_own_arguments(solver):
    how = {**HOW, "solver": solver}
    if solver == "adaptive":
        how |= {"solver": "dpm-solver", "method": "adaptive", "grid": None}
    model, x = Each().eval(), rows()[0]
    y = torch.arange(len(x)) % 3
    inputs = (x, rows()[1], y)
    snn = snnconvert.convert(model, 4, example_inputs=inputs, calibration=[inputs])
    for network in (model, snn):
        found = snnconvert.sample(network, **how, arguments={"y": torch.tensor([2, 0])})
        for label, mine in ((2, found[::2]), (0, found[1::2])):
            fixed = torch.full((len(x),), label)
            whole = snnconvert.sample(lambda x, t: network(x, t, fixed[: len(x)]), **how)  # noqa: B023
            torch.testing.assert_close(mine, whole[2 - label :: 2][: len(mine)]
                                       if label == 2 else whole[1::2])  # fmt: skip
        parts = snnconvert.sample(network, **how, arguments={"y": torch.tensor([2, 0])},
                                  batch_size=3)  # fmt: skip
        torch.testing.assert_close(parts, found)


def test_none_is_an_argument_too():
    model, (x, t) = Each().eval(), rows()
    for inputs in ((x, t), (x, t, None)):
        snn = snnconvert.convert(model, 4, example_inputs=inputs, calibration=[inputs, (x, t)])
        wanted = snnconvert.sample(snn, **HOW)
        assert torch.equal(snnconvert.sample(snn, **HOW, arguments={"y": None}), wanted)
        assert torch.equal(snn(x, t, None), snn(x, t))
        assert snnconvert.compare(model, snn, [(x, t, None)]).to_dict()["images"] == len(x)


def test_labels_are_noised_with_their_points():
    clean = torch.arange(6.0)[:, None].expand(6, 2)
    batches = snnconvert.noised((clean, torch.arange(6)), LINEAR, inputs=12)
    for x, t, y in batches:
        alpha, sigma = LINEAR.alpha(t)[:, None], LINEAR.sigma(t)[:, None]
        near = t < 5
        gap = (x - alpha * y[:, None])[near] / sigma[near]
        assert float(gap.abs().max()) < 6
    assert sum(len(y) for _, _, y in batches) == 12
    with pytest.raises(InputError, match="6 rows"):
        snnconvert.noised((clean, torch.arange(5)), LINEAR)


@pytest.mark.parametrize("arguments", [{"y": torch.zeros(0)}, ["y"], {"z": torch.zeros(5)}])
def test_arguments_that_do_not_fit_are_refused(arguments):
    x, t = rows()
    snn = snnconvert.convert(Each().eval(), 4, example_inputs=(x, t), calibration=[(x, t)])
    with pytest.raises(InputError):
        snnconvert.sample(snn, **HOW, arguments=arguments)
    with pytest.raises(InputError, match="'y': was left out when the network was captured"):
        snnconvert.sample(snn, **HOW, arguments={"y": torch.zeros(5).long()})
