"""Sampling that takes back what a quantised prediction does wrong."""

from __future__ import annotations

import pytest
import torch

from snnconvert.diffusion.correction import Correction
from snnconvert.diffusion.denoiser import Denoiser
from snnconvert.diffusion.deviation import measure_correction
from snnconvert.diffusion.sampling import sample
from snnconvert.diffusion.schedule import Schedule
from snnconvert.errors import InputError
from tests.support.known_score import MEANS, VARIANCE, WEIGHTS, mixture_denoiser, start

SCHEDULE = Schedule.linear()


def data(count: int = 2000) -> torch.Tensor:
    """Of the mixture of `known_score`: its means, blurred."""
    generator = torch.Generator().manual_seed(3)
    which = torch.multinomial(WEIGHTS, count, True, generator=generator)
    return MEANS[which] + VARIANCE**0.5 * torch.randn(count, 2, generator=generator).double()


def spoilt(slope: float, mean: torch.Tensor, std: float, seed: int = 0):
    """The mixture's denoiser with a planted slope, mean of each channel and noise."""
    exact, generator = mixture_denoiser(SCHEDULE), torch.Generator().manual_seed(seed)

    def network(x, t):
        noise = torch.randn(x.shape, generator=generator, dtype=x.dtype)
        return slope * exact(x, t) + mean.to(x) + std * noise

    return network


def measured(network) -> Correction:
    exact = mixture_denoiser(SCHEDULE)
    return measure_correction(network, exact, data().split(500), SCHEDULE, times=8)


def test_what_was_planted_is_found():
    mean = torch.tensor([0.05, -0.1])
    found = measured(spoilt(0.8, mean, 0.3))
    assert (found.slope - 0.8).abs().max() < 0.05
    assert (found.mean - mean.double()).abs().max() < 0.05
    assert (found.variance - 0.09).abs().max() < 0.01


def test_a_network_that_equals_the_float_one_needs_nothing():
    found = measured(mixture_denoiser(SCHEDULE))
    assert torch.allclose(found.slope, torch.ones(1000).double())
    assert float(found.mean.abs().max()) < 1e-12 and float(found.variance.max()) < 1e-12


@pytest.mark.parametrize("solver", ["ddim", "dpm-solver++", "unipc"])
def test_deterministic_samples_come_back(solver):
    """Slope and mean are taken back wholly: the samples are those of the float network."""
    network = spoilt(0.8, torch.tensor([0.1, -0.1]), 0.0)
    exact = mixture_denoiser(SCHEDULE)
    options = {"x": start(64), "solver": solver, "steps": 20, "schedule": SCHEDULE}
    wanted, plain = sample(exact, **options), sample(network, **options)
    better = sample(network, **options, correction=measured(network))
    assert (better - wanted).norm() < 1e-6 * (plain - wanted).norm()


@pytest.mark.parametrize("options", [
    {"solver": "ddpm", "variance": "fixed_small"},
    {"solver": "ddim", "eta": 1.0},
    {"solver": "sde-dpm-solver++", "order": 1},
    {"solver": "analytic-ddpm", "eps_second_moment": torch.full((1000,), 0.9).double()},
], ids=lambda o: o["solver"])  # fmt: skip
def test_stochastic_samples_carry_the_noise_that_the_schedule_says(options):
    """The noise of the prediction takes the place of noise that is drawn: the spread is right."""
    exact = mixture_denoiser(SCHEDULE)
    options = {"x": start(3000), "steps": 50, "schedule": SCHEDULE, **options}
    wanted = sample(exact, **options).var(0)
    network = spoilt(1.0, torch.zeros(2), 0.25)
    plain = sample(network, **options).var(0)
    better = sample(network, **options, correction=measured(network)).var(0)
    assert (better - wanted).norm() < 0.7 * (plain - wanted).norm()


@pytest.mark.parametrize("prediction", ["eps", "v", "x0"])
def test_noise_to_draw_is_what_the_error_leaves(prediction):
    """The variance of a step is what it was: drawn plus brought in."""
    constant = torch.ones(1000).double()
    correction = Correction(prediction, 0.5 * constant, torch.zeros(1000, 2), 0.01 * constant)
    denoiser = Denoiser(mixture_denoiser(SCHEDULE), SCHEDULE, prediction=prediction,
                        correction=correction)  # fmt: skip
    point = SCHEDULE.points([300])[0]
    per_unit = {"eps": point.sigma / point.alpha, "v": point.sigma, "x0": 1.0}[prediction]
    brought = 0.01 / 0.5**2 * (0.1 * per_unit) ** 2
    assert denoiser.noise_to_draw(0.5, 0.1, point) ** 2 + brought == pytest.approx(0.25)
    assert denoiser.noise_to_draw(1e-6, 1.0, point) == 0


def test_what_belongs_to_another_network_is_refused():
    correction = measured(mixture_denoiser(SCHEDULE))
    for options in ({"prediction": "v"}, {"schedule": Schedule.linear(500)}):
        with pytest.raises(InputError, match=r"correction: was measured .* measure it again"):
            sample(mixture_denoiser(SCHEDULE), x=start(2), steps=5, correction=correction,
                   **{"schedule": SCHEDULE, **options})  # fmt: skip
    with pytest.raises(InputError, match="hardly follows"):
        measured(lambda x, t: torch.zeros_like(x))
    with pytest.raises(InputError, match="at least one image"):
        measure_correction(mixture_denoiser(SCHEDULE), mixture_denoiser(SCHEDULE), [], SCHEDULE)
