"""Schedules: published numbers, inverses, and what they refuse."""

import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from snnconvert.diffusion.schedule import CLEAN, ContinuousSchedule, Schedule, as_schedule
from snnconvert.diffusion.transition import posterior_variance
from snnconvert.errors import InputError

ALL = [Schedule.linear(), Schedule.cosine(), Schedule.linear(50), ContinuousSchedule(),
       Schedule.from_betas(torch.tensor([0.1, 0.5, 0.2]))]  # fmt: skip


@pytest.mark.parametrize(
    "quantity, t, value",
    [
        ("abar", 0, 0.9999),
        ("abar", 499, 0.07858724288),
        ("abar", 999, 4.035829765e-5),
        ("half_log_snr", 0, 4.605120183),
        ("half_log_snr", 499, -1.230849357),
        ("half_log_snr", 999, -5.058836592),
    ],
)
def test_linear_schedule_has_the_published_numbers(quantity, t, value):
    schedule = Schedule.linear()
    found = schedule.alpha(t) ** 2 if quantity == "abar" else schedule.half_log_snr(t)
    assert float(found) == pytest.approx(value, rel=0, abs=1e-9)


def test_posterior_variance_has_the_published_number():
    t, s = Schedule.linear().points([1, 0])
    assert posterior_variance(t, s) == pytest.approx(5.45318766e-5, rel=0, abs=1e-9)


@pytest.mark.parametrize("schedule", ALL, ids=lambda s: f"{type(s).__name__}{len(s)}")
def test_levels_are_those_of_a_variance_preserving_process(schedule):
    t = torch.linspace(0, len(schedule) - 1, 301, dtype=torch.float64)
    alpha, sigma = schedule.alpha(t), schedule.sigma(t)
    torch.testing.assert_close(alpha**2 + sigma**2, torch.ones_like(t), rtol=0, atol=1e-14)
    torch.testing.assert_close(schedule.half_log_snr(t), (alpha / sigma).log())
    assert bool((schedule.half_log_snr(t).diff() < 0).all())
    assert float(schedule.alpha(CLEAN)) == 1 and float(schedule.sigma(CLEAN)) == 0
    assert float(schedule.half_log_snr(CLEAN)) == math.inf


@pytest.mark.parametrize("schedule", ALL, ids=lambda s: f"{type(s).__name__}{len(s)}")
def test_time_at_inverts_half_log_snr_at_whole_and_fractional_times(schedule):
    t = torch.linspace(0, len(schedule) - 1, 1234, dtype=torch.float64)
    torch.testing.assert_close(schedule.time_at(schedule.half_log_snr(t)), t, rtol=0, atol=1e-6)


def test_continuous_schedule_is_the_integral_of_its_rate():
    schedule = ContinuousSchedule(0.1, 20.0)
    u = torch.linspace(0, 0.7, 200_001, dtype=torch.float64)
    integral = torch.trapezoid(0.1 + 19.9 * u, u)
    assert float(schedule.log_alpha(0.7 * 1000 - 1)) == pytest.approx(-float(integral) / 2)


def test_discrete_schedule_approaches_the_continuous_one():
    fine = Schedule.from_betas(torch.linspace(0.1, 20, 10_000, dtype=torch.float64) / 10_000)
    times = torch.tensor([999.0, 4999.0, 9999.0])
    close = ContinuousSchedule(0.1, 20.0, 10_000).log_alpha(times)
    torch.testing.assert_close(fine.log_alpha(times), close, rtol=2e-3, atol=0)


def test_cosine_schedule_follows_its_formula_until_the_cap():
    abar = Schedule.cosine().alphas_cumprod
    share = [math.cos((k / 1000 + 0.008) / 1.008 * math.pi / 2) ** 2 for k in (0, 500)]
    assert float(abar[499]) == pytest.approx(share[1] / share[0], rel=1e-12)
    assert float(1 - abar[999] / abar[998]) == pytest.approx(0.999)


def test_add_noise_mixes_by_alpha_and_sigma():
    schedule, t = Schedule.linear(), torch.tensor([3.0, 400.5])
    x = schedule.add_noise(torch.ones(2, 1, 1, 1), torch.full((2, 1, 1, 1), 2.0), t)
    torch.testing.assert_close(x.flatten().double(), schedule.alpha(t) + 2 * schedule.sigma(t))


@settings(deadline=None, derandomize=True)
@given(st.floats().filter(lambda t: not (-1 <= t <= 999)))
def test_times_outside_are_refused(t):
    with pytest.raises(InputError, match="allowed"):
        Schedule.linear().alpha(t)


@pytest.mark.parametrize(
    "betas", [[], [0.1, 1.0], [0.0], [-0.1], [[0.1]], [float("nan")], ["a"], 7, "linear"]
)
def test_senseless_betas_are_refused(betas):
    with pytest.raises(InputError):
        as_schedule(betas)


def test_schedules_are_found_in_what_the_user_gives():
    assert torch.equal(as_schedule(None).alphas_cumprod, Schedule.linear().alphas_cumprod)
    assert len(as_schedule(torch.linspace(1e-4, 0.02, 10))) == 10
    continuous = ContinuousSchedule()
    assert as_schedule(continuous) is continuous
    for wrong in (0, -3, 2.5):
        with pytest.raises(InputError, match="diffusion_steps"):
            Schedule.cosine(wrong)
    with pytest.raises(InputError, match="beta_first"):
        ContinuousSchedule(20.0, 0.1)
