"""The Gaussian q(x_s | x_t, x_0) between two times, shared by all stochastic solvers."""

from __future__ import annotations

import math

from torch import Tensor

from snnconvert.common.checks import checked_number
from snnconvert.diffusion.linear import plus
from snnconvert.diffusion.schedule import Point


def transition_variance(t: Point, s: Point) -> float:
    """beta_{t|s} = 1 - abar_t / abar_s, the noise that the diffusion adds from s to t."""
    return -math.expm1(2 * math.log(t.alpha / s.alpha))


def posterior_variance(t: Point, s: Point) -> float:
    """Variance of x_s given x_t and x_0: beta_{t|s} * sigma(s)^2 / sigma(t)^2."""
    result: float = transition_variance(t, s) * s.sigma**2 / t.sigma**2
    return result


def posterior_share(t: Point, s: Point) -> float:
    """The factor of x_0 in the mean of x_s."""
    share: float = s.alpha * transition_variance(t, s) / t.sigma**2
    return share


def posterior_mean(x: Tensor, x0: Tensor, t: Point, s: Point) -> Tensor:
    """Mean of x_s given x_t = `x` and `x0` (Ho et al. 2020, equation 7)."""
    of_x0 = posterior_share(t, s)
    of_x = t.alpha / s.alpha * s.sigma**2 / t.sigma**2
    return plus(of_x * x, of_x0, x0)


def ddim_mean(x: Tensor, x0: Tensor, t: Point, s: Point, scatter: float) -> Tensor:
    """Mean of x_s given x_t = `x` and `x0` with `scatter` around it (Song et al. 2021, eq. 12)."""
    of_x = max(s.sigma**2 - scatter**2, 0.0) ** 0.5 / t.sigma
    return plus(of_x * x, s.alpha - of_x * t.alpha, x0)


def ddim_share(t: Point, s: Point, scatter: float) -> float:
    """The factor of x_0 in `ddim_mean`."""
    share: float = s.alpha - max(s.sigma**2 - scatter**2, 0.0) ** 0.5 / t.sigma * t.alpha
    return share


def checked_eta(eta: object) -> float:
    """`eta` if it is a number in [0, 1], else InputError."""
    return checked_number("eta", eta, "[0, 1]", note=": 0 is deterministic, 1 as DDPM")
