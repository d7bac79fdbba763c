"""Ancestral sampling, Ho et al. 2020, algorithm 2, on any grid of times."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise

from torch import Tensor

from snnconvert.diffusion.denoiser import Denoiser, clean_and_noise
from snnconvert.diffusion.noise import SampleNoise
from snnconvert.diffusion.schedule import CLEAN, Schedule
from snnconvert.diffusion.solvers import SOLVERS
from snnconvert.diffusion.solvers.ddim import posterior_variance
from snnconvert.errors import InputError


@SOLVERS.register("ddpm")
def ddpm(
    denoiser: Denoiser,
    x: Tensor,
    schedule: Schedule,
    times: Sequence[float],
    *,
    noise: SampleNoise,
    variance: str = "fixed_large",
    clip: bool = True,
) -> Tensor:
    """Sample from x at times[0] to times[-1].

    beta -> beta_{t|s} = 1 - abar_t / abar_s; the mean is that of q(x_s | x_t, x_0), with x_0 kept
    in [-1, 1] *before* the mean is formed (`clip`; the seeds clip after it, to no effect).
    variance: "fixed_large" (beta) or "fixed_small" (posterior variance). Noiseless last step.
    """
    if variance not in ("fixed_large", "fixed_small"):
        raise InputError(f"variance: found {variance!r}, allowed: fixed_large, fixed_small")
    for t, s in pairwise(times):
        alpha_t, alpha_s = float(schedule.alpha(t)), float(schedule.alpha(s))
        sigma_t, sigma_s = float(schedule.sigma(t)), float(schedule.sigma(s))
        beta = 1 - (alpha_t / alpha_s) ** 2
        x0, _ = clean_and_noise(denoiser, x, schedule, t, clip)
        mean = (alpha_s * beta * x0 + alpha_t / alpha_s * sigma_s**2 * x) / sigma_t**2
        if s == CLEAN:
            x = mean
            continue
        spread = beta if variance == "fixed_large" else float(posterior_variance(schedule, t, s))
        x = mean + spread**0.5 * noise.normal(x.shape[1:]).to(x)
    return x
