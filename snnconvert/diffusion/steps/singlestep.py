"""Singlestep integration: groups of intervals that need nothing from before."""

from __future__ import annotations

from collections.abc import Sequence

from torch import Tensor

from snnconvert.diffusion.denoiser import Denoiser
from snnconvert.diffusion.schedule import CLEAN, Point
from snnconvert.diffusion.steps.exponential import second_order_step, taylor_step


def singlestep(
    denoiser: Denoiser, x: Tensor, points: Sequence[Point], *, order: int, data: bool,
    taylor: bool = False, lower_order_final: bool = True,
) -> Tensor:  # fmt: skip
    """x at points[-1]; each point but the last is evaluated once."""
    first = 0
    for size in order_plan(len(points) - 1, order, lower_order_final):
        group = points[first : first + size + 1]
        first += size
        if group[-1].t == CLEAN:  # no polynomial reaches an infinite lambda: step there alone
            if size > 1:
                x, _ = group_step(denoiser, x, group[:-1], data, taylor)
            x0 = denoiser.clean(x, group[-2])
            return taylor_step(x, [x0], group[-2], group[-1], data=True)
        x, _ = group_step(denoiser, x, group, data, taylor)
    return x


def order_plan(intervals: int, order: int, lower_order_final: bool = True) -> list[int]:
    """Orders of the steps, whose evaluations sum to `intervals` ("DPM-Solver-fast").

    Order 3 ends with 2, 1 where `intervals` divides by 3 (and `lower_order_final`), else with the
    remainder: 12 -> 3, 3, 3, 2, 1; 10 -> 3, 3, 3, 1.
    """
    full, rest = divmod(intervals, order)
    if order == 3 and rest == 0 and lower_order_final:
        return [3] * (full - 1) + [2, 1]
    return [order] * full + [rest] * (rest > 0)


def group_step(
    denoiser: Denoiser, x: Tensor, group: Sequence[Point], data: bool, taylor: bool
) -> tuple[Tensor, list[Tensor]]:
    """x at the end of a group of 2 ... 4 points by a step of order 1 ... 3, and the predictions.

    r1, r2 -> where the inner points lie in lambda, 0 ... 1 (1/2, or 1/3 and 2/3, on even grids)
    m, m1, m2 -> predictions at the group's points (Lu et al. 2022a, algorithms 4 and 5)
    """
    t, s = group[0], group[-1]
    h = s.half_log_snr - t.half_log_snr
    evaluate = denoiser.clean if data else denoiser.noise
    m = evaluate(x, t)
    if len(group) == 2:
        return taylor_step(x, [m], t, s, data), [m]
    m1 = evaluate(taylor_step(x, [m], t, group[1], data), group[1])
    r1 = (group[1].half_log_snr - t.half_log_snr) / h
    slope = (m1 - m) / r1
    if len(group) == 3:
        return second_order_step(x, m, slope, t, s, data, taylor), [m, m1]
    r2 = (group[2].half_log_snr - t.half_log_snr) / h
    m2 = evaluate(taylor_step(x, [m, r2 * slope], t, group[2], data), group[2])
    later = (m2 - m) / r2
    derivatives = [m, later]  # with r2 = 2/3 this alone has the third order
    if taylor:
        bend = 2 * (later - slope) / (r2 - r1)
        derivatives = [m, (r2 * slope - r1 * later) / (r2 - r1), bend]
    return taylor_step(x, derivatives, t, s, data), [m, m1, m2]
