"""DDIM, Song et al. 2021, equation 12; `eta` = 1 is DDPM with the small variance."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise
from typing import Annotated

from torch import Tensor

from snnconvert.diffusion.denoiser import Denoiser
from snnconvert.diffusion.linear import plus
from snnconvert.diffusion.noise import SampleNoise
from snnconvert.diffusion.schedule import NoiseLevels
from snnconvert.diffusion.solvers import solver
from snnconvert.diffusion.transition import checked_eta, ddim_mean, ddim_share, posterior_variance

Eta = Annotated[float, "0 ... 1: how much noise is drawn"]


@solver("ddim", reversible=True, clips=True)
def ddim(
    denoiser: Denoiser,
    x: Tensor,
    schedule: NoiseLevels,
    times: Sequence[float],
    *,
    noise: SampleNoise,
    eta: Eta = 0.0,
) -> Tensor:
    """Integrate from x at times[0] to times[-1].

    eta -> eta, 0 (deterministic) ... 1; alpha, sigma -> sqrt(abar), sqrt(1 - abar);
    scatter -> sigma_t of equation 16. The step to clean data is noiseless.
    """
    eta = checked_eta(eta)
    for t, s in pairwise(schedule.points(times)):
        scatter = eta * posterior_variance(t, s) ** 0.5 if eta else 0.0
        x = ddim_mean(x, denoiser.clean(x, t), t, s, scatter)
        if scatter > 0:
            std = denoiser.noise_to_draw(scatter, ddim_share(t, s, scatter), t)
            x = plus(x, std, noise.normal_like(x))
    return x
