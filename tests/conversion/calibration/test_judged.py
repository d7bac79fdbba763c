"""What is handed over is judged on a path itself; of a network that was changed nothing is said."""

from __future__ import annotations

import warnings

import pytest
import torch

import snnconvert
from snnconvert.conversion.calibration.judged import Judged, trouble
from snnconvert.conversion.calibration.options import WeightCalibration
from snnconvert.errors import CheckpointError, InputError
from tests.support.planar import NormalDenoiser, points

LINEAR = snnconvert.Schedule.linear(100, 1e-3, 0.1)
PATH = snnconvert.SolverPath(LINEAR, samples=32, steps=8, passes=1)
BATCHES = snnconvert.noised(points(128), LINEAR, inputs=128)
DRAWING = {"shape": (4, 2), "solver": "ddim", "steps": 4}

pytestmark = pytest.mark.filterwarnings("ignore:calibration has not converged", "ignore:.*zero on")


def converted(timesteps=8, model=None, batches=BATCHES, path=PATH, **options):
    """(network, warnings about the path)."""
    options = {"simulate": "counts", **options}
    with warnings.catch_warnings(record=True) as said:
        warnings.simplefilter("always")
        snn = snnconvert.convert(
            model or NormalDenoiser(LINEAR).eval(), timesteps, path=path,
            example_inputs=batches[0], calibration=batches, **options,
        )  # fmt: skip
    return snn, [str(w.message) for w in said if str(w.message).startswith("path: ")]


@pytest.fixture(scope="module")
def plain():
    return converted()[0]


def followed(network) -> torch.Tensor:
    """Where it ends on the judged samples, as any caller would find."""
    return PATH.follow(network, points(1), "judged")


WAYS = {
    "learned": {"threshold": "learned"},
    "trained": {"weights": WeightCalibration(block_steps=10)},
    "lif": {"neuron": "lif", "simulate": "steps"},
    "unsettled": {"settle": 0, "signed": False, "simulate": "steps", "timesteps": 3},
}


@pytest.mark.parametrize("way", WAYS)
def test_figures_and_warnings_are_those_of_the_network_handed_over(way):
    snn, said = converted(**WAYS[way])
    found = snn.calibration["path"]
    judged, real = (
        Judged(**found["judged"]), Judged.of(followed(snn), followed(NormalDenoiser(LINEAR)))
    )  # fmt: skip
    assert (judged.samples, judged.escaped) == (real.samples, real.escaped)
    assert judged.error == pytest.approx(real.error, rel=1e-4)
    left_out = [text for text in said if "left out" in text]
    assert len(left_out) == len(found["left_out"])
    others = [text for text in said if text not in left_out]
    assert len(others) == bool(trouble(found["judged"]))
    assert all("clip=(low, high)" in text for text in others)


def test_training_that_makes_samples_escape_is_not_taken(plain):
    """Learned ceilings give up the room that a path needs; without them there is an answer."""
    snn, said = converted(**WAYS["learned"])
    assert snn.calibration["path"]["left_out"] == ["threshold"]
    assert snn.calibration["threshold"] == "mse"  # what came out
    assert any("threshold='learned' is left out" in text for text in said)
    assert snn.calibration["path"]["judged"]["escaped"] == 0
    x, t = BATCHES[0]
    assert torch.equal(snn(x, t), plain(x, t))


def test_leaky_neurons_whose_samples_escape_are_warned_of_and_reported_so():
    snn, (said,) = converted(**WAYS["lif"])
    escaped = snn.calibration["path"]["judged"]["escaped"]
    assert escaped > 0
    assert f"{escaped} of 32 samples escape" in said and "neuron='if'" in said
    report = snnconvert.compare(NormalDenoiser(LINEAR).eval(), snn, BATCHES[:1])
    assert f"{escaped} of 32 samples escape" in str(report)


def test_an_error_as_large_as_the_data_is_trouble_too():
    fine = Judged(100, 0, 0.1, 1.0).to_dict()
    assert trouble(fine) == trouble(None) == ""
    assert "3 of 100 samples escape" in trouble({**fine, "escaped": 3})
    assert "as far" in trouble({**fine, "error": 1.2})


def test_nothing_judged_is_said_of_a_network_that_was_changed(plain, tmp_path):
    model = NormalDenoiser(LINEAR).eval()

    def told(network):
        report = snnconvert.compare(model, network, BATCHES[:1])
        return report.to_dict()["saturation"], str(report)

    known, text = told(plain)
    assert known == plain.calibration["path"]["saturation"] and "unknown" not in text
    simulated = plain.with_config(simulate="steps", reset="trajectory")
    assert simulated.calibration["path"] == plain.calibration["path"]
    scaled = plain.scale_thresholds(0.5)
    snnconvert.save(scaled, tmp_path / "net.snn.pt")
    again = snnconvert.load(tmp_path / "net.snn.pt")
    for changed in (scaled, plain.with_config(timesteps=3), again):
        assert changed.calibration["path"]["judged"] is None
        measured, text = told(changed)
        assert measured != known and "unknown" in text
    (before,), (after,) = known["layers"].values(), told(again)[0]["layers"].values()
    assert max(after["path"]) > 2 * max(before["path"])  # ceilings of half the height


@pytest.mark.parametrize("path", [LINEAR, True, "ddim", snnconvert.SolverPath],
                         ids=["schedule", "true", "name", "class"])  # fmt: skip
def test_what_is_no_path_is_refused_before_anything_runs(path):
    class Never(NormalDenoiser):
        def forward(self, x, t):
            raise AssertionError("it ran")

    with pytest.raises(InputError, match=r"path: found .*SolverPath\(schedule\)"):
        converted(model=Never(LINEAR).eval(), path=path)


class Conditional(NormalDenoiser):
    """`order`: its inputs; each but x and t is added to x, times nothing."""

    def __init__(self, order: str) -> None:
        super().__init__(LINEAR)
        self.order = order.split()

    def forward(self, first, second, third):
        given = dict(zip(self.order, (first, second, third), strict=True))
        x, t = given.pop("x"), given.pop("t")
        (other,) = given.values()
        return super().forward(x + 0.0 * other.view(len(x), -1), t)


def conditional(order: str, other: torch.Tensor):
    named = [{"x": x, "t": t, "y": other[: len(x)]} for x, t in BATCHES]
    batches = [tuple(values[name] for name in order.split()) for values in named]
    time = ("first", "second", "third")[order.split().index("t")]
    return converted(model=Conditional(order).eval(), batches=batches, t_argument=time)


@pytest.mark.parametrize(("order", "shape"), [("y t x", (1,)), ("x t y", (2,))])
def test_the_input_of_the_predictions_shape_is_followed(order, shape):
    """Another input comes first; or is of the same shape, behind (x, t) as solvers call them."""
    snn, said = conditional(order, torch.ones(len(BATCHES[0][0]), *shape))
    assert snn.calibration["path"]["judged"]["escaped"] == 0 and not said


def test_which_of_two_inputs_is_x_is_asked():
    with pytest.raises(InputError, match=r"which of first and second is x\?.*\(x, t, \.\.\.\)"):
        conditional("y x t", torch.ones(len(BATCHES[0][0]), 2))


def test_a_prediction_of_another_shape_than_any_input_is_refused():
    class Variance(NormalDenoiser):
        def forward(self, x, t):
            return torch.cat([super().forward(x, t), x], 1)

    with pytest.raises(InputError, match=r"prediction has the shape \(\d+, 4\).*x \(\d+, 2\)"):
        converted(model=Variance(LINEAR).eval())


def test_times_that_were_the_numbers_of_the_steps_stay_so(plain, tmp_path):
    snnconvert.save(plain, tmp_path / "net.snn.pt")
    for network in (plain, snnconvert.load(tmp_path / "net.snn.pt"), plain.quantized_ann()):
        assert network.t_range == (0.0, 99.0)
        with pytest.raises(InputError, match="takes times from 0 to 99"):
            snnconvert.sample(network, **DRAWING, t_range=(0, 0.99))
    unsaid = snnconvert.sample(lambda x, t: plain(x, t), **DRAWING, schedule=LINEAR)
    for t_range in (None, (0, 99)):
        assert torch.equal(snnconvert.sample(plain, **DRAWING, t_range=t_range), unsaid)


def test_times_that_a_network_or_its_path_says_are_kept_as_they_are():
    class Scaled(NormalDenoiser):
        def forward(self, x, t):
            return super().forward(x, t * 100)

    batches = snnconvert.noised(points(128), LINEAR, inputs=128, t_range=(0, 0.99))
    path = snnconvert.SolverPath(LINEAR, samples=8, steps=4, passes=0, t_range=(0, 0.99))
    assert converted(model=Scaled(LINEAR).eval(), batches=batches, path=path)[0].t_range == (
        0,
        0.99,
    )


@pytest.mark.parametrize("path", [
    "abc", {"reach": "far"}, {"trials": [3]}, {"trials": None}, {"judged": 3},
    {"judged": {"escaped": "a"}}, {"saturation": {"t": 1, "layers": {}}},
    {"saturation": {"t": [1.0], "layers": {"a": {"calibration": 0.0, "path": []}}}},
], ids=str)  # fmt: skip
def test_what_a_file_says_of_a_path_is_checked(plain, path):
    content = plain.to_content()
    type(plain).from_content(content)
    path = {**plain.calibration["path"], **path} if isinstance(path, dict) else path
    content["config"]["calibration"] = {**plain.calibration, "path": path}
    with pytest.raises(CheckpointError, match="damaged"):
        type(plain).from_content(content)


def test_where_all_escape_there_are_no_others():
    wanted = torch.randn(8, 2)
    judged = Judged.of(100 + wanted, wanted)
    assert judged.escaped == 8 and "others" not in trouble(judged.to_dict())


def test_samples_without_an_end_of_the_float_network_count_for_nothing():
    wanted = torch.randn(8, 2)
    ends = wanted.clone()
    wanted[:3] = torch.nan
    assert Judged.of(ends, wanted).to_dict() == Judged.of(ends[3:], wanted[3:]).to_dict()
    assert not trouble(Judged.of(ends, torch.full_like(ends, torch.nan)).to_dict())
