"""Calibration along a path: no sample escapes, and what is known travels with a network."""

from __future__ import annotations

import re

import pytest
import torch
from torch import nn

import snnconvert
from snnconvert.conversion.calibration.along_path import Trial, chosen
from snnconvert.conversion.calibration.judged import Judged, Saturation, far_beyond
from snnconvert.errors import InputError
from tests.support.planar import LabelledDenoiser, NormalDenoiser, points

LINEAR = snnconvert.Schedule.linear(100, 1e-3, 0.1)
PATH = snnconvert.SolverPath(LINEAR, samples=256, steps=10, passes=1)
SAMPLING = {"shape": (1000, 2), "solver": "ddim", "steps": 20, "schedule": LINEAR}

pytestmark = pytest.mark.filterwarnings("ignore:calibration has not converged")


def converted(timesteps=8, model=None, **options):
    batches = snnconvert.noised(points(128), LINEAR, inputs=128)
    model = model or NormalDenoiser(LINEAR).eval()
    return snnconvert.convert(model, timesteps, example_inputs=batches[0], calibration=batches,
                              simulate="counts", **options)  # fmt: skip


def escapes(network) -> int:
    """Samples that end four times farther out than any of the float network's."""
    limit = 4 * snnconvert.sample(NormalDenoiser(LINEAR), **SAMPLING).norm(dim=1).max()
    return int((snnconvert.sample(network, **SAMPLING).norm(dim=1) > limit).sum())


@pytest.mark.parametrize(("code", "timesteps"), [("rate", 8), ("rate", 32), ("radix", 6)])
def test_no_sample_escapes_where_thresholds_were_fitted_along_a_path(code, timesteps):
    plain = converted(timesteps, code=code, firing="deferred")
    along = converted(timesteps, code=code, firing="deferred", path=PATH)
    assert escapes(plain) > 0
    assert escapes(along) == 0
    found = along.calibration["path"]
    trials = {trial["reach"]: trial for trial in found["trials"]}
    assert trials[found["reach"]]["escaped"] == 0 < trials[0.0]["escaped"]
    (shares,) = found["saturation"]["layers"].values()
    assert len(shares["path"]) == len(found["saturation"]["t"]) == 10


def test_a_correction_over_t_beside_the_path_lets_no_sample_go():
    """What the last rounding of eps left is taken back where the data are, and escapes nowhere."""
    model, along = NormalDenoiser(LINEAR).eval(), converted(4, path=PATH)
    correction = snnconvert.measure_correction(along, model, [points(1024)], LINEAR, times=20)
    wanted = snnconvert.sample(model, **SAMPLING)
    plain = snnconvert.sample(along, **SAMPLING)
    found = snnconvert.sample(along, **SAMPLING, correction=correction)
    assert float(found.norm(dim=1).max()) <= 4 * float(wanted.norm(dim=1).max())
    distance = [float((x - wanted).square().mean()) for x in (found, plain)]
    assert distance[0] <= 1.05 * distance[1]


def test_other_forms_of_inputs_are_followed_too():
    x, t = (torch.cat(parts) for parts in zip(*snnconvert.noised(points(256), LINEAR), strict=True))
    inputs = (x, t.long()[:, None], torch.arange(len(x)) % 10)
    model = LabelledDenoiser(LINEAR).eval()
    snn = snnconvert.convert(model, 8, example_inputs=inputs, calibration=[inputs], path=PATH,
                             simulate="counts")  # fmt: skip
    label = torch.zeros(1000, dtype=torch.long)
    assert escapes(lambda x, t: snn(x, t.long()[:, None], label)) == 0


def test_a_network_that_does_not_sample_is_calibrated_without():
    model = NormalDenoiser(LINEAR).eval()
    model.scale *= 0.0  # it leaves all of the noise
    with pytest.warns(UserWarning, match="own samples run away"):
        along = converted(model=model, path=PATH)
    x, t = points(8), torch.arange(8.0)
    assert torch.equal(along(x, t), converted(model=model)(x, t))


def test_bounded_activations_need_no_room_above_their_bound():
    class Bounded(NormalDenoiser):
        def forward(self, x, t):
            hidden = nn.functional.relu6(self.up(x))
            return self.down(hidden) * self.scale[t.round().long()][:, None]

    snn = converted(model=Bounded(LINEAR).eval(), path=PATH)
    assert all(float(cell.v_threshold.max()) <= 6 for cell in snn.neurons.values())


def test_fewest_escapes_come_first_then_least_error_then_reach():
    def trial(reach, escaped, error):
        return Trial(reach, escaped, error)

    assert chosen([trial(0, 3, 0.1), trial(1, 0, 0.5), trial(1.25, 0, 0.8)]) == 1
    assert chosen([trial(0, 0, 0.50), trial(1, 0, 0.51), trial(1.25, 0, 0.8)]) == 1
    ends, wanted = torch.tensor([[1.0], [9.0], [torch.nan]]), torch.ones(3, 1)
    found = Judged.of(ends, wanted)
    assert (found.escaped, found.error) == (2, 0.0)


def test_a_path_that_saturates_far_beyond_calibration_is_warned_of():
    snn = converted()
    qann = snn.quantized_ann()
    saturation = Saturation(qann.program, qann.constants, 1)
    saturation.add([0.1 * points(64), torch.zeros(64)], on_path=False)
    saturation.add([50 * points(64), torch.full((64,), 99.0)], on_path=True)
    assert re.match(r"1 layer saturates far more .* at t = 99", far_beyond(saturation.to_dict()))
    usual = Saturation(qann.program, qann.constants, 1)
    for on_path in (False, True):
        usual.add([points(64), torch.zeros(64)], on_path=on_path)
    assert far_beyond(usual.to_dict()) == ""


def test_a_report_counts_what_saturates_on_a_path_that_nobody_asked_for():
    batches = snnconvert.noised(points(128), LINEAR, inputs=128)
    model = NormalDenoiser(LINEAR).eval()
    narrow = [(0.2 * x, t) for x, t in batches]  # what the solver visits lies far beyond
    snn = snnconvert.convert(model, 8, example_inputs=narrow[0], calibration=narrow)
    assert snnconvert.compare(model, snn, narrow).to_dict()["saturation"] is None
    snn.schedule = LINEAR
    report = snnconvert.compare(model, snn, narrow)
    found = report.to_dict()["saturation"]
    (shares,) = found["layers"].values()
    assert len(found["t"]) == len(shares["path"]) == 20
    assert max(shares["path"]) > 10 * shares["calibration"]
    assert re.search("saturates? far more on the solver's path", str(report))
    along = converted(8, path=PATH)
    told = snnconvert.compare(model, along, batches).to_dict()["saturation"]
    assert told == along.calibration["path"]["saturation"]


def test_schedule_prediction_and_range_travel_with_the_network(tmp_path):
    path = snnconvert.SolverPath(LINEAR, "eps", samples=16, steps=4, data_range=(-2.0, 2.5))
    snn = converted(path=path)
    snnconvert.save(snn, tmp_path / "net.snn.pt")
    again = snnconvert.load(tmp_path / "net.snn.pt")
    same = again.with_config(simulate="counts")
    for network in (snn, again, same, snn.quantized_ann(), snn.scale_thresholds(0.99)):
        assert network.prediction == "eps" and network.data_range == (-2.0, 2.5)
        assert torch.equal(network.schedule.alphas_cumprod, LINEAR.alphas_cumprod)
    drawing = {"shape": (4, 2), "solver": "ddim", "steps": 4}
    wanted = snnconvert.sample(lambda x, t: snn(x, t), schedule=LINEAR, clip=(-2.0, 2.5), **drawing)
    assert torch.equal(snnconvert.sample(again, clip=True, **drawing), wanted)
    for wrong in ({"prediction": "v"}, {"schedule": snnconvert.Schedule.cosine()}):
        with pytest.raises(InputError, match=next(iter(wrong))):
            snnconvert.sample(again, **drawing, **wrong)
    with pytest.raises(InputError, match="predicts 'v', but the network predicts 'eps'"):
        converted(model=snn.quantized_ann(), path=snnconvert.SolverPath(LINEAR, "v"))


@pytest.mark.parametrize("options", [{"prediction": "noise"}, {"steps": 0}, {"samples": 0},
                                     {"passes": -1}, {"seed": -1}, {"grid": "none"},
                                     {"data_range": (1.0, 0.0)}, {"clip": (1.0, 0.0)}])  # fmt: skip
def test_senseless_paths_are_refused(options):
    with pytest.raises(InputError):
        snnconvert.SolverPath(LINEAR, **options)


def test_a_report_follows_no_path_at_times_of_another_scale():
    """Without t_range a solver would call a network of t / 100 at t = 99."""

    class Scaled(NormalDenoiser):
        def forward(self, x, t):
            return super().forward(x, t * 100)

    model = Scaled(LINEAR).eval()
    batches = snnconvert.noised(points(128), LINEAR, inputs=128, t_range=(0, 0.99))
    snn = snnconvert.convert(model, 8, example_inputs=batches[0], calibration=batches)
    snn.schedule = LINEAR
    with pytest.warns(UserWarning, match=r"begins at t = 99, .* left out|left out .*t = 99"):
        assert snnconvert.compare(model, snn, batches).to_dict()["saturation"] is None
    snn.t_range = (0.0, 0.99)
    assert snnconvert.compare(model, snn, batches).to_dict()["saturation"]["layers"]
