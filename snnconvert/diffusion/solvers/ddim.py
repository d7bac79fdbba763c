"""DDIM, Song et al. 2021, equation 12; `eta` = 1 is DDPM with the small variance."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise

from torch import Tensor

from snnconvert.diffusion.denoiser import Denoiser, clean_and_noise
from snnconvert.diffusion.noise import SampleNoise
from snnconvert.diffusion.schedule import CLEAN, Schedule
from snnconvert.diffusion.solvers import SOLVERS


@SOLVERS.register("ddim")
def ddim(
    denoiser: Denoiser,
    x: Tensor,
    schedule: Schedule,
    times: Sequence[float],
    *,
    noise: SampleNoise,
    eta: float = 0.0,
    clip: bool = True,
) -> Tensor:
    """Integrate from x at times[0] to times[-1].

    eta -> eta, 0 (deterministic) ... 1; alpha, sigma -> sqrt(abar), sqrt(1 - abar);
    scatter -> sigma_t of equation 16. `clip` keeps x_0 in [-1, 1] and recomputes eps from it.
    """
    for t, s in pairwise(times):
        alpha_s, sigma_s = float(schedule.alpha(s)), float(schedule.sigma(s))
        x0, eps = clean_and_noise(denoiser, x, schedule, t, clip)
        scatter = eta * float(posterior_variance(schedule, t, s)) ** 0.5
        x = alpha_s * x0 + max(sigma_s**2 - scatter**2, 0.0) ** 0.5 * eps
        if scatter > 0 and s != CLEAN:
            x = x + scatter * noise.normal(x.shape[1:]).to(x)
    return x


def posterior_variance(schedule: Schedule, t: float, s: float) -> Tensor:
    """Variance of x_s given x_t and x_0: beta_{t|s} * sigma(s)^2 / sigma(t)^2."""
    ratio = (schedule.alpha(t) / schedule.alpha(s)) ** 2
    return (1 - ratio) * schedule.sigma(s) ** 2 / schedule.sigma(t) ** 2
