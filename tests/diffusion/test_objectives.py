"""What denoisers learn: times, and errors that the clip of a sampler would hide."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from snnconvert.diffusion.deviation import measure_correction
from snnconvert.diffusion.moments import eps_second_moment
from snnconvert.diffusion.objectives import (
    beyond_range,
    noised_batch,
    prediction_loss,
    target_of,
)
from snnconvert.diffusion.schedule import Schedule
from snnconvert.errors import InputError

SCHEDULE = Schedule.linear()
KINDS = ("eps", "v", "x0")


def meaning(prediction: str, x0: Tensor, x: Tensor, t: Tensor) -> Tensor:
    """The prediction at `x` that stands for the clean images `x0`."""
    alpha, sigma = (f(t).view(-1, 1, 1, 1).to(x) for f in (SCHEDULE.alpha, SCHEDULE.sigma))
    return target_of(prediction, x0, (x - alpha * x0) / sigma, SCHEDULE, t)


def losses(prediction: str, clean: Tensor, shift: float) -> Tensor:
    """Loss of each image of a network that means `clean + shift`; float64."""
    x, t, eps = noised_batch(clean, SCHEDULE, torch.Generator().manual_seed(0), spread=True)
    x, target = x.double(), target_of(prediction, clean, eps, SCHEDULE, t).double()
    beyond = beyond_range(prediction, clean)
    answers = meaning(prediction, clean + shift, x, t)
    return torch.stack([
        prediction_loss(answers[i : i + 1], target[i : i + 1], beyond=beyond[i : i + 1])
        for i in range(len(clean))
    ])  # fmt: skip


@pytest.mark.parametrize("prediction", KINDS)
@pytest.mark.parametrize(("pixel", "shift", "free"), [
    (-1.0, -0.2, True), (-1.0, 0.2, False), (1.0, 0.2, True), (1.0, -0.2, False),
    (0.3, 0.2, False), (0.3, -0.2, False),
])  # fmt: skip
def test_only_beyond_the_range_of_a_pixel_at_its_end_is_no_error(prediction, pixel, shift, free):
    found = losses(prediction, torch.full((6, 1, 2, 2), pixel, dtype=torch.float64), shift)
    assert bool((found == 0).all() if free else (found > 1e-6).all())


@pytest.mark.parametrize("share", [0.1, 0.5, 0.9])
def test_what_is_best_to_answer_stays_the_mean_of_the_data(share):
    """A pixel that is black in a share of the images: nothing pulls the answer further out."""
    count = 1000
    clean = torch.where(torch.arange(count) < share * count, -1.0, 0.2).view(-1, 1, 1, 1)
    beyond = beyond_range("x0", clean)
    answers = torch.linspace(-1.5, 1, 2501)
    found = [
        prediction_loss(torch.full_like(clean, float(a)), clean, beyond=beyond) for a in answers
    ]
    best = float(answers[torch.stack(found).argmin()])
    assert best == pytest.approx(float(clean.mean()), abs=2e-3)


def test_a_teacher_is_followed_where_the_data_leave_no_doubt():
    """Its answer is the aim; beyond what the data say nothing is."""
    clean = torch.tensor([-1.0, 0.0]).view(1, 1, 1, 2)
    answer = torch.tensor([-0.9, 0.1]).view(1, 1, 1, 2)
    beyond = beyond_range("x0", clean)
    losses = [
        float(prediction_loss(answer + s, clean, answer, beyond))
        for s in (0.0, -0.05, -0.3)
    ]  # fmt: skip
    assert losses == pytest.approx([0, 0.05**2, 0.3**2 / 2])


def test_a_power_draws_more_of_the_little_noised():
    images = torch.zeros(20_000, 1, 1, 1)
    for power in (0.5, 1.0, 2.0, 4.0):
        t = noised_batch(images, SCHEDULE, torch.Generator().manual_seed(1), power=power)[1]
        assert float(t.mean()) / len(SCHEDULE) == pytest.approx(1 / (1 + power), abs=0.01)
        assert bool((t == t.floor()).all()) and 0 <= float(t.min()) <= float(t.max()) < 1000


@pytest.mark.parametrize("prediction", KINDS)
def test_what_a_clip_takes_away_is_no_deviation(prediction):
    """A network that overshoots at saturated pixels deviates, and as samplers clip it does not."""
    generator = torch.Generator().manual_seed(2)
    clean = torch.rand(64, 1, 4, 4, generator=generator, dtype=torch.float64) * 1.6 - 1
    clean[:, :, :, :2] = -1

    def network(overshoot: float):
        def call(x: Tensor, t: Tensor) -> Tensor:
            return meaning(prediction, clean - overshoot * (clean == -1), x, t.double())

        return call

    how = {"schedule": SCHEDULE, "prediction": prediction, "times": 5}
    exact, network = network(0.0), network(0.4)
    plain = measure_correction(network, exact, [clean], **how)
    clipped = measure_correction(network, exact, [clean], clip=True, **how)
    assert float(plain.variance.max()) > 1e-3
    assert float(clipped.variance.max()) < 1e-9 and float(clipped.mean.abs().max()) < 1e-6
    assert torch.allclose(clipped.slope, torch.ones(1000).double(), atol=1e-6)
    curves = [eps_second_moment(n, [clean], clip=True, **how) for n in (network, exact)]
    assert torch.allclose(*curves)


def test_a_mean_of_the_step_before_has_no_correction():
    with pytest.raises(InputError, match=r"predicts x_prev has none; allowed are eps, v, x0"):
        measure_correction(torch.add, torch.add, [torch.zeros(1, 2)], prediction="x_prev")
