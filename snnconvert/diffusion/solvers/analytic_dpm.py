"""Analytic-DDPM and Analytic-DDIM, Bao et al. 2022: reverse steps of the best variance."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise
from typing import Annotated

from torch import Tensor

from snnconvert.common.checks import checked_number
from snnconvert.diffusion.analytic import analytic_variance, at_time, check_moment, pixel_variance
from snnconvert.diffusion.denoiser import Denoiser
from snnconvert.diffusion.linear import plus
from snnconvert.diffusion.noise import SampleNoise
from snnconvert.diffusion.schedule import CLEAN, NoiseLevels
from snnconvert.diffusion.solvers import solver
from snnconvert.diffusion.solvers.ddim import Eta
from snnconvert.diffusion.transition import checked_eta, ddim_mean, ddim_share, posterior_variance

ClipPixel = Annotated[
    float, "grey levels of noise in the last noisy step, 0: no bound; commands take 2 for images"
]


@solver("analytic-ddpm", clips=True)
def analytic_ddpm(
    denoiser: Denoiser, x: Tensor, schedule: NoiseLevels, times: Sequence[float], *,
    noise: SampleNoise, eps_second_moment: Tensor | None = None,
    largest_variance: float | None = 1.0, clip_pixel: ClipPixel = 0.0,
) -> Tensor:  # fmt: skip
    """Sample with DDPM's mean. Arguments as `analytic_ddim`, of which this is eta = 1."""
    return analytic_ddim(
        denoiser, x, schedule, times, noise=noise, eps_second_moment=eps_second_moment, eta=1.0,
        largest_variance=largest_variance, clip_pixel=clip_pixel,
    )  # fmt: skip


@solver("analytic-ddim", clips=True)
def analytic_ddim(
    denoiser: Denoiser, x: Tensor, schedule: NoiseLevels, times: Sequence[float], *,
    noise: SampleNoise, eps_second_moment: Tensor | None = None,
    eta: Eta = 0.0,
    largest_variance: float | None = 1.0, clip_pixel: ClipPixel = 0.0,
) -> Tensor:  # fmt: skip
    """Sample from x at times[0] to times[-1]; the step to clean data is noiseless.

    Args:
        eps_second_moment: E ||eps||^2 / d at every diffusion step, of the very network sampled.
        eta: as in DDIM. Even eta = 0 draws noise: what x_t does not tell of x_0.
        largest_variance: bound on the variance of x_0 given x_t; 1 holds for data in [-1, 1].
        clip_pixel: in the last noisy step, noise that moves a pixel by at most so many grey
            levels of 255 in the mean; 0: no bound. The paper uses 2 or 1 for images.
    """
    curve = check_moment(eps_second_moment, schedule).tolist()
    eta = checked_eta(eta)
    clip_pixel = checked_number("clip_pixel", clip_pixel, "[0, 255]")
    if largest_variance is not None:
        checked_number("largest_variance", largest_variance, "(0, inf]", note=" and None")
    last_noisy = [time for time in times if time != CLEAN][-1]
    for t, s in pairwise(schedule.points(times)):
        scatter = eta * posterior_variance(t, s) ** 0.5
        x = ddim_mean(x, denoiser.clean(x, t), t, s, scatter)
        if s.t == CLEAN:
            continue
        variance = analytic_variance(t, s, at_time(curve, t.t), scatter, largest_variance)
        if clip_pixel and s.t == last_noisy:
            variance = min(variance, pixel_variance(clip_pixel))
        std = denoiser.noise_to_draw(variance**0.5, ddim_share(t, s, scatter), t)
        x = plus(x, std, noise.normal_like(x))
    return x
