"""Ancestral sampling, Ho et al. 2020, algorithm 2, on any grid of times."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise
from typing import Annotated

from torch import Tensor

from snnconvert.diffusion.denoiser import Denoiser
from snnconvert.diffusion.linear import plus
from snnconvert.diffusion.noise import SampleNoise
from snnconvert.diffusion.schedule import CLEAN, NoiseLevels
from snnconvert.diffusion.solvers import solver
from snnconvert.diffusion.transition import (
    posterior_mean,
    posterior_share,
    posterior_variance,
    transition_variance,
)
from snnconvert.errors import InputError

VARIANCES = {"fixed_large": transition_variance, "fixed_small": posterior_variance}


@solver("ddpm", clips=True)
def ddpm(
    denoiser: Denoiser,
    x: Tensor,
    schedule: NoiseLevels,
    times: Sequence[float],
    *,
    noise: SampleNoise,
    variance: Annotated[str, tuple(VARIANCES)] = "fixed_large",
) -> Tensor:
    """Sample from x at times[0] to times[-1].

    variance: "fixed_large" (beta_{t|s}; good with many steps only) or "fixed_small" (that of
    q(x_s | x_t, x_0)). The step to clean data is noiseless.

    Clipping belongs to the denoiser and acts on x_0 *before* the mean is formed; clipping the
    mean, as the seeds do, changes nothing (the usual mistake).
    """
    if variance not in tuple(VARIANCES):
        raise InputError(f"variance: found {variance!r}, allowed: {', '.join(VARIANCES)}")
    for t, s in pairwise(schedule.points(times)):
        x = posterior_mean(x, denoiser.clean(x, t), t, s)
        if s.t != CLEAN:
            std = denoiser.noise_to_draw(VARIANCES[variance](t, s) ** 0.5, posterior_share(t, s), t)
            x = plus(x, std, noise.normal_like(x))
    return x
