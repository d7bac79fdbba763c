"""UniPC, Zhao et al. 2023: a multistep predictor, corrected with the evaluation made next."""

from __future__ import annotations

import math
from collections.abc import Sequence
from itertools import pairwise
from typing import Annotated

from torch import Tensor

from snnconvert.common.checks import checked_switch
from snnconvert.diffusion.denoiser import Denoiser
from snnconvert.diffusion.noise import SampleNoise
from snnconvert.diffusion.schedule import CLEAN, NoiseLevels, Point
from snnconvert.diffusion.solvers import solver
from snnconvert.diffusion.solvers.dpm_solver import LowerOrderFinal, Order, checked_order
from snnconvert.diffusion.steps.exponential import step_between
from snnconvert.diffusion.steps.multistep import step_order
from snnconvert.errors import InputError

VARIANTS = ("bh1", "bh2")
History = list[tuple[Point, Tensor]]  # (point, prediction of the data) of the latest evaluations


@solver("unipc", grid="time_uniform", reversible=True, clips=True)
def unipc(
    denoiser: Denoiser, x: Tensor, schedule: NoiseLevels, times: Sequence[float], *,
    noise: SampleNoise | None = None, order: Order = 2,
    variant: Annotated[str, VARIANTS] = "bh2",
    lower_order_final: LowerOrderFinal = True,
) -> Tensor:  # fmt: skip
    """Integrate the ODE with predictions of the data from times[0] to times[-1].

    Args:
        order: 1 ... 3 of the predictor; the corrector has one more.
        variant: B(h) = -h ("bh1") or e^{-h} - 1 ("bh2").
    """
    order = checked_order(order, (1, 2, 3))
    if variant not in VARIANTS:
        raise InputError(f"variant: found {variant!r}, allowed: {', '.join(VARIANTS)}")
    lower_order_final = checked_switch("lower_order_final", lower_order_final)
    intervals = len(times) - 1
    history: History = []  # latest first
    start, used = x, 0  # where the latest step began, and with how many evaluations
    for i, (t, s) in enumerate(pairwise(schedule.points(times))):
        x0 = denoiser.clean(x, t)
        if history:
            x = uni_step(start, history[:used], t, variant, corrector=x0)
        history.insert(0, (t, x0))
        del history[order:]
        used = min(len(history), step_order(order, i, intervals, lower_order_final))
        if s.t == CLEAN:
            used = 1
        start, x = x, uni_step(x, history[:used], s, variant)
    return x


def uni_step(
    x: Tensor, history: History, s: Point, variant: str, corrector: Tensor | None = None
) -> Tensor:
    """x at s from x at the latest point of `history`; `corrector` is the prediction at s.

    r_m -> (lambda_m - lambda_t) / h; a_m -> weights of D_m / r_m with D_m = m(lambda_m) - m, which
    solve sum_m a_m r_m^(n-1) = n! phi_{n+1} / B(h), n = 1, 2, ... (equation 11)
    """
    t, m = history[0]
    step = step_between(t, s, data=True)
    h = s.half_log_snr - t.half_log_snr
    (phi1,) = step.phi(1)
    ratios = [(p.half_log_snr - t.half_log_snr) / h for p, _ in history[1:]]
    values = [value for _, value in history[1:]]
    if corrector is not None:
        ratios, values = [*ratios, 1.0], [*values, corrector]
    x = step.carry * x
    if not ratios:
        return x.add(m, alpha=-step.scale * phi1)
    b = step.k if variant == "bh1" else math.expm1(step.k)
    factors = [
        step.scale * b * a / r for a, r in zip(weights(ratios, step.k, b), ratios, strict=True)
    ]
    x = x.add(m, alpha=sum(factors) - step.scale * phi1)
    for factor, value in zip(factors, values, strict=True):
        x = x.add(value, alpha=-factor)
    return x


def weights(ratios: Sequence[float], k: float, b: float) -> list[float]:
    """a_1, a_2, ...; a single one is 1/2, as in the paper.

    The system is a Vandermonde one, solved by Bjoerck and Pereyra's divided differences.
    """
    if len(ratios) == 1:
        return [0.5]
    count = len(ratios)
    phi, found = math.expm1(k), []
    for n in range(1, count + 1):
        phi = phi / k - 1 / math.factorial(n)
        found.append(math.factorial(n) * phi / b)
    for first in range(count - 1):
        for i in range(count - 1, first, -1):
            found[i] -= ratios[first] * found[i - 1]
    for first in range(count - 2, -1, -1):
        for i in range(first + 1, count):
            found[i] /= ratios[i] - ratios[i - first - 1]
        for i in range(first, count - 1):
            found[i] -= found[i + 1]
    return found
