"""DPM-Solver singlestep on the log-SNR grid, against formulas written down from the paper alone.

The original ("DPM-Solver-fast", Lu et al. 2022a, section 3.4) lays the steps evenly in lambda, each
of up to three evaluations that are evenly spaced inside it.
"""

from __future__ import annotations

import itertools
import math

import pytest
import torch

import snnconvert
from snnconvert.diffusion.sampling import plan
from snnconvert.diffusion.schedule import Schedule

LINEAR = Schedule.linear()


def eps(x, t):
    """Some smooth prediction, with curvature in x and t."""
    return torch.sin(1.3 * x) + 0.4 * x * torch.cos(t.view(-1, 1) / 300)


def at(lam):
    """(alpha, sigma, t) at a lambda."""
    alpha = math.sqrt(1 / (1 + math.exp(-2 * lam)))
    return alpha, math.sqrt(1 - alpha**2), float(LINEAR.time_at(lam))


def orders(steps: int, order: int) -> list[int]:
    if order == 3:
        rests = {0: [2, 1], 1: [1], 2: [2]}
        return [3] * (steps // 3 - (steps % 3 == 0)) + rests[steps % 3]
    return [2] * (steps // 2) + [1] * (steps % 2)


def step(x, start, end, order):
    """One step in noise form: first order, midpoint, or the third order of algorithm 2."""
    h = end - start
    a0 = at(start)[0]

    def model(x, lam):
        return eps(x, torch.full((len(x),), at(lam)[2], dtype=torch.float64))

    def carried(lam):
        alpha, sigma, _ = at(lam)
        return alpha / a0 * x, sigma

    e0 = model(x, start)
    if order == 1:
        kept, sigma = carried(end)
        return kept - sigma * math.expm1(h) * e0
    r1 = 1 / order
    s1 = start + r1 * h
    kept, sigma = carried(s1)
    e1 = model(kept - sigma * math.expm1(r1 * h) * e0, s1)
    if order == 2:
        kept, sigma = carried(end)
        return kept - sigma * math.expm1(h) * (e0 + (e1 - e0) / (2 * r1))
    r2 = 2 / 3
    s2 = start + r2 * h
    kept, sigma = carried(s2)
    phi = math.expm1(r2 * h) / (r2 * h) - 1
    e2 = model(kept - sigma * (math.expm1(r2 * h) * e0 + r2 / r1 * phi * (e1 - e0)), s2)
    kept, sigma = carried(end)
    phi = math.expm1(h) / h - 1
    return kept - sigma * (math.expm1(h) * e0 + phi / r2 * (e2 - e0))


@pytest.mark.parametrize(
    ("steps", "order"), [*itertools.product((6, 10, 11, 12, 15), (2, 3)), (3, 3)]
)
def test_steps_are_even_in_log_snr_as_in_the_original(steps, order):
    x = torch.randn(5, 3, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    found = snnconvert.sample(eps, x, solver="dpm-solver", method="singlestep", order=order,
                              steps=steps, grid="log_snr")  # fmt: skip
    first, last = (float(LINEAR.half_log_snr(t)) for t in (999, 0))
    sizes = orders(steps, order)
    wanted = x
    for i, size in enumerate(sizes):
        start, end = (first + k / len(sizes) * (last - first) for k in (i, i + 1))
        wanted = step(wanted, start, end, size)
    assert float((found - wanted).abs().max()) < 1e-5 * float(wanted.abs().max())


def test_only_steps_of_several_evaluations_are_laid_otherwise():
    def times(**options):
        return plan("dpm-solver++", 12, grid="log_snr", **options).times

    even = times(method="singlestep", order=1)
    assert times()[:-1] == pytest.approx(plan("dpm-solver", 11, grid="log_snr").times, abs=1e-6)
    assert times(method="singlestep", order=2) == pytest.approx(even, abs=1e-6)
    third = times(method="singlestep", order=3)  # 3, 3, 3, 2, 1
    lambdas = LINEAR.half_log_snr(torch.tensor(third))
    outer = lambdas[[0, 3, 6, 9, 11, 12]].diff()
    torch.testing.assert_close(outer, outer.mean().expand(5))
    assert third[0] == 999 and third[-1] == 0 and len(third) == 13
    assert times(method="singlestep", order=3, denoise_to_zero=True) == third
