"""SDE-DPM-Solver++ (Lu et al. 2022b, section 6): the stochastic sibling, multistep order 1 or 2."""

from __future__ import annotations

import math
from collections.abc import Sequence
from itertools import pairwise
from typing import Annotated

from torch import Tensor

from snnconvert.diffusion.denoiser import Denoiser
from snnconvert.diffusion.linear import plus
from snnconvert.diffusion.noise import SampleNoise
from snnconvert.diffusion.schedule import NoiseLevels, Point
from snnconvert.diffusion.solvers import solver
from snnconvert.diffusion.solvers.dpm_solver import LowerOrderFinal, checked_order
from snnconvert.diffusion.steps.multistep import step_order


@solver("sde-dpm-solver++", grid="time_uniform", clips=True)
def sde_dpm_solver_pp(
    denoiser: Denoiser, x: Tensor, schedule: NoiseLevels, times: Sequence[float], *,
    noise: SampleNoise, order: Annotated[int, (1, 2)] = 2,
    lower_order_final: LowerOrderFinal = True,
) -> Tensor:  # fmt: skip
    """Sample from the reverse SDE from times[0] to times[-1].

    h -> lambda_s - lambda_t; decay -> e^{-h}; fresh -> 1 - e^{-2h}
    x_s = sigma_s / sigma_t * e^{-h} * x + alpha_s * fresh * (x0 + x0' / 2) + sigma_s sqrt(fresh) z

    Order 1 is DDIM with eta = 1. The step to clean data is noiseless.
    """
    order = checked_order(order, (1, 2))
    intervals = len(times) - 1
    earlier: tuple[Point, Tensor] | None = None
    for i, (t, s) in enumerate(pairwise(schedule.points(times))):
        x0 = denoiser.clean(x, t)
        h = s.half_log_snr - t.half_log_snr
        decay, fresh = math.exp(-h), -math.expm1(-2 * h)
        target, factor = x0, 1.0  # of x0 in the target
        if earlier and step_order(order, i, intervals, lower_order_final) == 2 and s.sigma > 0:
            before, x0_before = earlier
            share = (t.half_log_snr - before.half_log_snr) / h
            target, factor = plus(x0, 0.5 / share, x0 - x0_before), 1 + 0.5 / share
        earlier = t, x0
        x = plus((s.sigma / t.sigma * decay) * x, s.alpha * fresh, target)
        if s.sigma > 0:
            drawn = s.sigma * fresh**0.5
            std = denoiser.noise_to_draw(drawn, s.alpha * fresh * factor, t)
            x = plus(x, std, noise.normal_like(x))
    return x
