"""What samplers clip is no distance between two denoisers."""

import pytest
import torch

import snnconvert
from snnconvert.common.denoises import with_facts
from snnconvert.diffusion.objectives import target_of
from snnconvert.diffusion.schedule import Schedule
from snnconvert.report.measures.as_seen import AsSeen
from snnconvert.report.measures.difference import Difference
from snnconvert.report.verdict import verdict
from tests.support.unets import tiny_unet, unet_inputs

SCHEDULE = Schedule.linear()
X, T = unet_inputs(batch=4, seed=5)


def facts(prediction: str) -> dict[str, object]:
    return {"prediction": prediction, "schedule": SCHEDULE, "data_range": (-1.0, 1.0)}


def spiking(known: dict[str, object]):
    qann = with_facts(tiny_unet(), known)
    return snnconvert.convert(qann, 4, example_inputs=(X, T))


def apart(seen: AsSeen, prediction: str, first: float, second: float, t=T) -> float:
    """Relative distance of predictions that mean two even images."""
    x, gap = X.double(), Difference()
    point = SCHEDULE.per_sample(T, x)

    def meaning(value: float) -> torch.Tensor:
        x0 = torch.full_like(x, value)
        return target_of(prediction, x0, (x - point.alpha * x0) / point.sigma, SCHEDULE, T)

    gap.add(*(seen((x, t), {}, meaning(value)) for value in (first, second)))
    return gap.relative_error


@pytest.mark.parametrize("prediction", ["eps", "v", "x0"])
def test_only_what_lies_within_the_range_counts(prediction):
    seen = AsSeen(spiking(facts(prediction)))
    assert apart(seen, prediction, -1.0, -1.4) < 1e-6
    assert apart(seen, prediction, 0.9, 1.3) == pytest.approx(apart(seen, prediction, 0.9, 1.0))
    inside = apart(seen, prediction, 0.2, 0.3)
    scaled = AsSeen(spiking({**facts(prediction), "t_range": (0.0, 1.0)}))
    assert apart(scaled, prediction, 0.2, 0.3, T / 999) == pytest.approx(inside, rel=1e-3)
    if prediction == "x0":
        assert inside == pytest.approx(1 / 3)


@pytest.mark.parametrize("missing", ["prediction", "schedule", "data_range"])
def test_what_is_not_known_leaves_outputs_as_they_are(missing):
    seen = AsSeen(spiking({k: v for k, v in facts("v").items() if k != missing}))
    output = 3 * X
    assert not seen.clips and seen((X, T), {}, output) is output


def test_a_report_tells_the_distance_as_samplers_clip_and_without():
    ann, found = tiny_unet(levels=0), {}
    for name, known in (("unknown", {}), ("known", facts("x0"))):
        snn = snnconvert.convert(with_facts(ann, known), 4, example_inputs=(X, T),
                                 calibration=[(X, T)])  # fmt: skip
        found[name] = snnconvert.compare(ann, snn, [(X, T)]).to_dict()
    plain, clipped = (found[name]["output_ann"] for name in ("unknown", "known"))
    assert plain["unclipped_error"] is None
    assert clipped["unclipped_error"] == plain["relative_error"]
    with torch.no_grad():
        x0, wanted = (n(X, T).clamp(-1, 1) for n in (snn, ann))
    expected = float((x0 - wanted).norm() / wanted.norm())
    assert clipped["relative_error"] == pytest.approx(expected, rel=1e-4)
    assert "as samplers see it" in verdict(found["known"])
    assert "samplers" not in verdict(found["unknown"])
