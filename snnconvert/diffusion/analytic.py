"""Analytic-DPM, Bao et al. 2022: the best variance of a reverse step, and the best path.

All of it follows from one curve, eps_second_moment(t) = E ||eps(x_t, t)||^2 / d over the data,
which is at most 1 for a perfect network (the rest is what x_t does not tell of the noise).
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
from torch import Tensor

from snnconvert.diffusion.schedule import NoiseLevels, Point
from snnconvert.diffusion.transition import posterior_variance
from snnconvert.errors import InputError

PIXEL = 2 / 255  # one grey level of images in [-1, 1]


def check_moment(eps_second_moment: object, schedule: NoiseLevels) -> Tensor:
    """The curve as float64 [diffusion_steps]; InputError if it is missing or not of that form."""
    if eps_second_moment is None:
        raise InputError(
            "eps_second_moment: is needed; estimate it from this very network with "
            "`snnconvert moments FILE`, or snnconvert.diffusion.moments.eps_second_moment"
        )
    try:
        curve = torch.as_tensor(eps_second_moment, dtype=torch.float64).cpu()
    except (TypeError, ValueError, RuntimeError) as error:
        raise InputError(
            f"eps_second_moment: found {type(eps_second_moment).__name__}, needed are numbers"
        ) from error
    if curve.shape != (len(schedule),) or not bool((curve.isfinite() & (curve >= 0)).all()):
        raise InputError(
            f"eps_second_moment: found shape {tuple(curve.shape)}, needed is one number from 0 up "
            f"for each of the {len(schedule)} diffusion steps"
        )
    return curve


def at_time(curve: Sequence[float], t: float) -> float:
    """The curve at a whole or fractional t, linear between whole ones."""
    left = min(int(t), len(curve) - 1)
    right = min(left + 1, len(curve) - 1)
    return curve[left] + (t - left) * (curve[right] - curve[left])


def data_variance(moment: float, t: Point, largest: float | None = 1.0) -> float:
    """E Cov[x_0 | x_t] / d = sigma^2 / alpha^2 * (1 - moment), kept in 0 ... `largest`.

    Data in [-1, 1] never varies by more than 1; `largest` None leaves out that bound.
    """
    variance = max((t.sigma / t.alpha) ** 2 * (1 - moment), 0.0)
    result: float = variance if largest is None else min(variance, largest)
    return result


def analytic_variance(
    t: Point, s: Point, moment: float, scatter: float | None = None, largest: float | None = 1.0
) -> float:
    """The variance of p(x_s | x_t) that is closest to the data's (theorem 1).

    Args:
        scatter: standard deviation of q(x_s | x_t, x_0), 0 in DDIM; None is DDPM's.
    """
    inner = posterior_variance(t, s) if scatter is None else scatter**2
    rest = max(s.sigma**2 - inner, 0.0)
    of_x0 = s.alpha - math.sqrt(rest) * t.alpha / t.sigma
    result: float = inner + of_x0**2 * data_variance(moment, t, largest)
    return result


def pixel_variance(pixels: float) -> float:
    """The variance at which a pixel moves by `pixels` grey levels in the mean (section 4.4)."""
    return (pixels * PIXEL) ** 2 * math.pi / 2


def optimal_times(schedule: NoiseLevels, curve: Tensor, steps: int) -> list[float]:
    """`steps` whole times, noisiest first, from the last to 0: least sum of log variances.

    J(s, r) = log(1 - beta_{r|s} * moment_r / sigma_r^2), by dynamic programming over all paths
    (section 4.2). Where the curve exceeds 1, at the noisy end of imperfect networks, J means
    nothing; a tail twice as long as those times is visited evenly, with 0.8 of its share of steps.

    cost[r] -> C[k, r], least cost of a path 0 = s_0 < ... < s_k = r; origin -> where it came from
    """
    last = len(schedule) - 1
    tail = min(2 * int((curve > 1).sum()), len(curve) // 2)
    outside = min(round(0.8 * tail / len(curve) * steps), max(steps - 2, 0)) if tail else 0
    inside = steps - outside
    end = last - tail if outside else last
    even = [last - i * (last - end) / outside for i in range(outside)] if outside else []
    path: Sequence[float]
    if inside < 2 or end < inside - 1:
        path = [end - i * end / max(inside - 1, 1) for i in range(inside)]
    else:
        path = least_cost_path(step_costs(schedule, curve, end), inside)
    return [float(round(time)) for time in [*even, *path]]


def step_costs(schedule: NoiseLevels, curve: Tensor, end: int) -> Tensor:
    """J [s, r] for 0 <= s < r <= end; infinite elsewhere."""
    times = torch.arange(end + 1, dtype=torch.float64)
    log_alpha, variance = schedule.log_alpha(times), schedule.sigma(times) ** 2
    beta = -torch.expm1(2 * (log_alpha[None] - log_alpha[:, None]))
    cost = torch.log1p(-(beta * curve[None, : end + 1] / variance[None]).clamp_max(1 - 1e-12))
    return cost.masked_fill(torch.ones_like(cost).triu(1) == 0, math.inf)


def least_cost_path(costs: Tensor, nodes: int) -> list[int]:
    """The cheapest path of `nodes` nodes from node 0 to the last one, last node first."""
    cost = torch.full((len(costs),), math.inf, dtype=torch.float64)
    cost[0] = 0
    origins = []
    arriving = costs.T.contiguous()  # [r, s]: a minimum along rows is far faster
    for _ in range(nodes - 1):
        cost, origin = (arriving + cost).min(1)
        origins.append(origin)
    path = [len(costs) - 1]
    for origin in reversed(origins):
        path.append(int(origin[path[-1]]))
    return path
