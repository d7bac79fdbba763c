"""What samplers clip is no distance between two denoisers."""

import pytest
import torch

import snnconvert
from snnconvert.common.denoises import with_facts
from snnconvert.diffusion.objectives import target_of
from snnconvert.diffusion.schedule import Schedule
from snnconvert.report.measures.as_clipped import AsClipped
from snnconvert.report.verdict import verdict
from tests.support.unets import tiny_unet, unet_inputs

SCHEDULE = Schedule.linear()
T = torch.tensor([3.0, 500.0, 990.0])


def facts(prediction: str) -> dict[str, object]:
    return {"prediction": prediction, "schedule": SCHEDULE, "data_range": (-1.0, 1.0)}


@pytest.mark.parametrize("prediction", ["eps", "v", "x0"])
def test_only_what_lies_within_the_range_counts(prediction):
    x = torch.randn(3, 1, 4, 4, generator=torch.Generator().manual_seed(0), dtype=torch.float64)

    def meaning(clean: float) -> torch.Tensor:
        point = SCHEDULE.per_sample(T, x)
        x0 = torch.full_like(x, clean)
        return target_of(prediction, x0, (x - point.alpha * x0) / point.sigma, SCHEDULE, T)

    found = {}
    for name, first, second in (("out", -1.0, -1.4), ("across", 0.9, 1.3), ("in", 0.2, 0.3)):
        measure = AsClipped(with_facts(torch.nn.Identity(), facts(prediction)), time=1)
        measure.add((x, T), meaning(first), meaning(second))
        found[name] = measure.to_dict()["relative_error"]
    assert found["out"] < 1e-6 < 1e-4 < min(found["across"], found["in"])
    scaled = AsClipped(with_facts(torch.nn.Identity(), {**facts(prediction), "t_range": (0, 1)}), 1)
    scaled.add((x, T / 999), meaning(0.2), meaning(0.3))
    assert scaled.to_dict()["relative_error"] == pytest.approx(found["in"], rel=1e-3)
    if prediction == "x0":
        assert found["across"] == pytest.approx(0.1) and found["in"] == pytest.approx(1 / 3)


def test_a_report_says_it_of_denoisers_that_know_their_range():
    ann, batch = tiny_unet(levels=0), unet_inputs(seed=1)
    found = {}
    for name, known in (("unknown", {}), ("known", facts("x0"))):
        snn = snnconvert.convert(with_facts(ann, known), 4, example_inputs=batch,
                                 calibration=[batch])  # fmt: skip
        found[name] = snnconvert.compare(ann, snn, [batch]).to_dict()
    assert found["unknown"]["output_ann_clipped"] is None
    assert found["known"]["output_ann"] == found["unknown"]["output_ann"]
    x0, wanted = (n(*batch).clamp(-1, 1) for n in (snn, ann))
    clipped = found["known"]["output_ann_clipped"]["relative_error"]
    assert clipped == pytest.approx(
        float(((x0 - wanted).norm() / wanted.norm()).detach()), rel=1e-4
    )
    assert ("clip it" in verdict(found["known"])) == (
        clipped < 0.98 * found["known"]["output_ann"]["relative_error"]
    )
