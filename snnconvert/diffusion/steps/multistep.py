"""Multistep integration: derivatives of the prediction from earlier evaluations."""

from __future__ import annotations

from collections.abc import Sequence

from torch import Tensor

from snnconvert.diffusion.denoiser import Denoiser
from snnconvert.diffusion.schedule import CLEAN, Point
from snnconvert.diffusion.steps.exponential import second_order_step, taylor_step

SHORT = 10  # paths of fewer intervals end with lower orders


def multistep(
    denoiser: Denoiser, x: Tensor, points: Sequence[Point], *, order: int, data: bool,
    taylor: bool = False, lower_order_final: bool = True, published: bool = False,
) -> Tensor:  # fmt: skip
    """x at points[-1]; one evaluation per interval. `published`: see `backward_derivatives`."""
    intervals = len(points) - 1
    history: list[tuple[Point, Tensor]] = []  # latest first
    for i in range(intervals):
        t, s = points[i], points[i + 1]
        evaluate = denoiser.clean if data or s.t == CLEAN else denoiser.noise
        history.insert(0, (t, evaluate(x, t)))
        del history[order:]
        if s.t == CLEAN:
            return taylor_step(x, [history[0][1]], t, s, data=True)
        usable = min(len(history), step_order(order, i, intervals, lower_order_final))
        derivatives = backward_derivatives(history[:usable], s, published)
        if len(derivatives) == 2:
            m, slope = derivatives
            x = second_order_step(x, m, slope, t, s, data, taylor)
        else:
            x = taylor_step(x, derivatives, t, s, data)
    return x


def step_order(order: int, i: int, intervals: int, lower_order_final: bool) -> int:
    """Order of interval i: as asked, but falling to 1 at the end of a short path."""
    return min(order, intervals - i) if lower_order_final and intervals < SHORT else order


def backward_derivatives(
    history: Sequence[tuple[Point, Tensor]], s: Point, published: bool = False
) -> list[Tensor]:
    """[m, m', m''] at the latest point, for the step to s, by divided differences.

    Lu et al. 2022b (and everyone since) take the second divided difference for m'', which is half
    of it and leaves the third-order method with second-order errors; `published` does so too.
    """
    t, m = history[0]
    h = s.half_log_snr - t.half_log_snr
    if len(history) == 1:
        return [m]
    t1, m1 = history[1]
    r0 = (t.half_log_snr - t1.half_log_snr) / h
    first = (m - m1).div_(r0)
    if len(history) == 2:
        return [m, first]
    t2, m2 = history[2]
    r1 = (t1.half_log_snr - t2.half_log_snr) / h
    second = (first - (m1 - m2) / r1) / (r0 + r1)
    return [m, first + r0 * second, second if published else 2 * second]
