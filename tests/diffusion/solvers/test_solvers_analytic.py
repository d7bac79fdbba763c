"""Analytic-DPM against data whose reverse process is known in closed form."""

import itertools
import math

import pytest
import torch

import snnconvert
from snnconvert.diffusion.analytic import analytic_variance, at_time, data_variance, pixel_variance
from snnconvert.diffusion.moments import eps_second_moment, moment_times
from snnconvert.diffusion.schedule import ContinuousSchedule, Schedule
from snnconvert.diffusion.transition import posterior_variance
from snnconvert.errors import InputError
from tests.support.known_score import mixture_denoiser, start

LINEAR = Schedule.linear()
SPREAD = 0.3  # variance of the Gaussian data below
T = torch.arange(1000, dtype=torch.float64)
TOTAL = LINEAR.alpha(T) ** 2 * SPREAD + LINEAR.sigma(T) ** 2
CURVE = LINEAR.sigma(T) ** 2 / TOTAL  # E ||eps||^2 / d of the exact denoiser of N(0, SPREAD)


def gaussian(x, t):
    shape = (-1, *(1,) * (x.ndim - 1))
    alpha, sigma = (v.view(shape).to(x) for v in (LINEAR.alpha(t), LINEAR.sigma(t)))
    return sigma * x / (alpha**2 * SPREAD + sigma**2)


@pytest.mark.parametrize("pair", [(999, 899), (500, 499), (120, 3), (7, 0)])
def test_variance_is_that_of_the_true_reverse_step(pair):
    """For Gaussian data p(x_s | x_t) is Gaussian, with the variance of a product of two."""
    t, s = LINEAR.points(pair)
    ratio = t.alpha / s.alpha
    before = s.alpha**2 * SPREAD + s.sigma**2
    exact = 1 / (1 / before + ratio**2 / (1 - ratio**2))
    moment = at_time(CURVE.tolist(), t.t)
    assert analytic_variance(t, s, moment) == pytest.approx(exact, rel=1e-9)


def test_variance_of_the_data_is_the_posterior_variance_kept_in_range():
    (t,) = LINEAR.points([300])
    exact = SPREAD * t.sigma**2 / (t.alpha**2 * SPREAD + t.sigma**2)
    assert data_variance(float(CURVE[300]), t) == pytest.approx(exact, rel=1e-9)
    assert data_variance(1.2, t) == 0
    noisy = LINEAR.points([999])[0]
    assert data_variance(0.9, noisy) == 1
    assert data_variance(0.9, noisy, largest=None) > 1000


def test_variance_lies_between_its_bounds():
    """Theorem 2: from DDPM's small variance up to that plus the whole range of x_0."""
    for t, s in ((LINEAR.points([a, b])) for a, b in ((999, 700), (400, 390), (20, 1))):
        inner = posterior_variance(t, s)
        for moment in (0.01, 0.5, 0.99, 1.0):
            of_x0 = s.alpha * (1 - (t.alpha / s.alpha) ** 2) / t.sigma**2
            assert inner <= analytic_variance(t, s, moment) <= inner + of_x0**2 + 1e-12


def exact_path_variance(name, times, eta):
    """Variance of x_0 after the linear recursion that the solver is for this denoiser."""
    points, variance = LINEAR.points(times), 1.0
    for t, s in itertools.pairwise(points):
        gain = t.sigma / (t.alpha**2 * SPREAD + t.sigma**2)
        scatter = eta * posterior_variance(t, s) ** 0.5
        of_x = s.alpha / t.alpha * (1 - t.sigma * gain) + math.sqrt(s.sigma**2 - scatter**2) * gain
        noise = (
            0 if s.sigma == 0 else analytic_variance(t, s, at_time(CURVE.tolist(), t.t), scatter)
        )
        variance = of_x**2 * variance + noise
    return variance


@pytest.mark.parametrize("name, eta", [("analytic-ddpm", 1.0), ("analytic-ddim", 0.0)])
@pytest.mark.parametrize("times", [[999, 400, 100, 10], [999, 10]])
def test_few_steps_give_the_right_spread(name, eta, times):
    """Down to x_t at t = 10 the law of x stays exact however few the steps; DDPM's is far off."""
    exact = float(LINEAR.alpha(10)) ** 2 * SPREAD + float(LINEAR.sigma(10)) ** 2
    if name == "analytic-ddpm":
        assert exact_path_variance(name, times, eta) == pytest.approx(exact, rel=1e-4)
    x = torch.randn(40, 1000, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    found = snnconvert.sample(gaussian, x, solver=name, grid=times, eps_second_moment=CURVE)
    plain = snnconvert.sample(gaussian, x, solver="ddpm", grid=times, variance="fixed_small")
    assert float(found.var()) == pytest.approx(exact_path_variance(name, times, eta), rel=0.02)
    assert float(plain.var()) < 0.8 * exact


def test_a_curve_of_ones_leaves_ddpm_and_ddim():
    """Then x_t tells all of x_0 and there is nothing to add."""
    x, ones = start(4), torch.ones(1000)
    network = mixture_denoiser(LINEAR)
    for name, plain in (
        ("analytic-ddpm", {"solver": "ddpm", "variance": "fixed_small"}),
        ("analytic-ddim", {"solver": "ddim"}),
    ):
        found = snnconvert.sample(network, x, solver=name, steps=20, eps_second_moment=ones)
        expected = snnconvert.sample(network, x, steps=20, **plain)
        torch.testing.assert_close(found, expected, rtol=0, atol=1e-10)


def test_clipping_bounds_the_noise_of_the_last_noisy_step_alone():
    assert pixel_variance(2) == pytest.approx(3.865089e-4, rel=1e-6)
    assert pixel_variance(1) == pytest.approx(9.662723e-5, rel=1e-6)
    how = {"solver": "analytic-ddpm", "eps_second_moment": CURVE}
    x = torch.randn(200, 50, dtype=torch.float64, generator=torch.Generator().manual_seed(0))

    def noise(times, pixels):
        mean = snnconvert.sample(lambda x, t: 0 * x, 0 * x, grid=times, clip_pixel=pixels, **how)
        return float(mean.var())

    assert noise([300, 100], 2) == pytest.approx(pixel_variance(2), rel=0.05)
    assert noise([300, 100, -1], 2) == pytest.approx(
        pixel_variance(2) / float(LINEAR.alpha(100)) ** 2, rel=0.05
    )
    assert noise([300, 100], 0) > 10 * pixel_variance(2)
    (t, s) = LINEAR.points([300, 100])
    assert noise([300, 100], 0) == pytest.approx(
        analytic_variance(t, s, float(CURVE[300])), rel=0.05
    )


# ---- estimation


def batches(count, size=32, dims=16):
    generator = torch.Generator().manual_seed(1)
    for _ in range(count):
        yield SPREAD**0.5 * torch.randn(size, dims, generator=generator)


def test_estimate_is_the_closed_form_for_gaussian_data():
    curve = eps_second_moment(gaussian, batches(80), LINEAR, times=60)
    assert curve.shape == (1000,) and curve.dtype == torch.float64
    assert float((curve - CURVE).abs().max()) < 0.03
    few = eps_second_moment(gaussian, batches(4), times=60)
    assert float((few - CURVE).abs().mean()) > 2 * float((curve - CURVE).abs().mean())


def test_estimate_streams_and_depends_on_the_network_alone():
    alive = []

    def tracked():
        for batch in batches(6):
            alive.append(len(alive))
            yield batch

    calls = []

    def half(x, t):
        return 0.5 * torch.ones_like(x)

    curve = eps_second_moment(half, tracked(), times=5, on_call=lambda: calls.append(len(alive)))
    assert calls == [batch for batch in range(1, 7) for _ in range(5)]  # one batch at a time
    torch.testing.assert_close(curve, torch.full((1000,), 0.25, dtype=torch.float64))


@pytest.mark.parametrize("prediction", ["x0", "v"])
def test_estimate_is_of_the_noise_whatever_the_network_predicts(prediction):
    def converted(x, t):
        alpha, sigma = (f(float(t[0])) for f in (LINEAR.alpha, LINEAR.sigma))
        eps = gaussian(x, t)
        x0 = (x - sigma * eps) / alpha
        return x0 if prediction == "x0" else alpha * eps - sigma * x0

    how = {"schedule": LINEAR, "times": 9}
    found = eps_second_moment(converted, batches(2), prediction=prediction, **how)
    torch.testing.assert_close(
        found, eps_second_moment(gaussian, batches(2), **how), rtol=1e-3, atol=1e-4
    )


def test_estimate_refuses_what_it_cannot_measure():
    with pytest.raises(InputError, match="no data"):
        eps_second_moment(gaussian, [])
    with pytest.raises(InputError, match="not finite"):
        eps_second_moment(lambda x, t: x / 0, batches(1), times=3)
    with pytest.raises(InputError, match="from 2 up"):
        eps_second_moment(gaussian, batches(1), times=1)


@pytest.mark.parametrize("steps", [2, 3, 50, 1000])
@pytest.mark.parametrize("count", [2, 3, 49, 50, 1500])
def test_measured_times_are_whole_distinct_and_reach_both_ends(steps, count):
    times = moment_times(Schedule.linear(steps), count)
    assert times[0] == 0 and times[-1] == steps - 1
    assert sorted(set(times)) == times and len(times) == min(count, steps)
    assert all(t == int(t) for t in times)


def test_curve_is_linear_between_whole_times():
    curve = [0.0, 1.0, 5.0]
    assert [at_time(curve, t) for t in (0, 0.25, 1.5, 2)] == [0, 0.25, 3, 5]
    schedule = ContinuousSchedule()
    x = snnconvert.sample(mixture_denoiser(schedule), start(2), solver="analytic-ddim", steps=5,
                          schedule=schedule, eps_second_moment=CURVE, grid="log_snr")  # fmt: skip
    assert bool(x.isfinite().all())
