"""Exact steps of the diffusion ODE for a polynomial model of the prediction.

Between t and s the ODE is linear but for the prediction m, so its solution is an exponential
integral that a Taylor series of m in lambda turns into closed form (Lu et al. 2022). DPM-Solver
(m = eps), DPM-Solver++ (m = x_0) and UniPC are all made of the step below.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any, NamedTuple

import torch
from torch import Tensor

from snnconvert.diffusion.linear import plus
from snnconvert.diffusion.schedule import Point


class Step(NamedTuple):
    """Coefficients of x_s = carry * x_t - scale * (phi1 * m + phi2 * m' + phi3 * m'' + ...).

    carry -> alpha_s / alpha_t (noise form), sigma_s / sigma_t (data form)
    scale -> sigma_s, alpha_s
    k     -> h, -h, with h = lambda_s - lambda_t
    m', m'' -> h dm/dlambda and h^2 d^2m/dlambda^2 at t
    """

    carry: Any  # floats, or tensors with one number per sample, as in Point
    scale: Any
    k: Any

    def phi(self, order: int) -> list[Any]:
        """[phi1 ... phi_order]: phi1 = e^k - 1, phi_{n+1} = phi_n / k - 1 / n!."""
        values = [torch.expm1(self.k) if isinstance(self.k, Tensor) else math.expm1(self.k)]
        for n in range(1, order):
            values.append(values[-1] / self.k - 1 / math.factorial(n))
        return values


def step_between(t: Point, s: Point, data: bool) -> Step:
    """The step from t to s for predictions of the data, or else of the noise."""
    h = s.half_log_snr - t.half_log_snr
    if data:
        return Step(s.sigma / t.sigma, s.alpha, -h)
    return Step(s.alpha / t.alpha, s.sigma, h)


def taylor_step(x: Tensor, derivatives: Sequence[Tensor], t: Point, s: Point, data: bool) -> Tensor:
    """x at s from `x` at t and [m, m', m'', ...] at t, exact if m is that polynomial in lambda.

    A step to clean data has infinite h; it takes m alone, and in the data form.
    """
    step = step_between(t, s, data)
    x = step.carry * x
    for phi, derivative in zip(step.phi(len(derivatives)), derivatives, strict=True):
        x = plus(x, -step.scale * phi, derivative)
    return x


def second_order_step(
    x: Tensor, m: Tensor, slope: Tensor, t: Point, s: Point, data: bool, taylor: bool
) -> Tensor:
    """The step with m' = `slope`, or without `taylor` DPM-Solver's: phi1 / 2 in place of phi2."""
    if taylor:
        return taylor_step(x, [m, slope], t, s, data)
    step = step_between(t, s, data)
    (phi1,) = step.phi(1)
    return plus(step.carry * x, -step.scale * phi1, plus(m, 0.5, slope))
