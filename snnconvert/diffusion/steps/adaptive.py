"""DPM-Solver-12 and -23: steps as long as the difference of two orders allows, per sample."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from snnconvert.common.checks import checked_number
from snnconvert.diffusion.denoiser import Denoiser
from snnconvert.diffusion.schedule import CLEAN, NoiseLevels, Point
from snnconvert.diffusion.steps.exponential import second_order_step, taylor_step
from snnconvert.diffusion.steps.singlestep import group_step
from snnconvert.errors import InputError

FIRST_STEP, SAFETY, NEAR = 0.05, 0.9, 1e-5  # in lambda; h_init, theta, t_err of the original
SPLITS = {2: (0.0, 0.5, 1.0), 3: (0.0, 1 / 3, 2 / 3, 1.0)}
MOST_TRIALS = 10_000


def adaptive(
    denoiser: Denoiser, x: Tensor, schedule: NoiseLevels, times: Sequence[float], *,
    order: int, data: bool, taylor: bool, atol: float, rtol: float,
) -> Tensor:  # fmt: skip
    """x at times[-1]; of `times` only the two ends matter (Lu et al. 2022a, appendix C.2).

    Every sample has its own steps, so that its batch never changes it (in the original the
    whole batch moves with its most difficult sample). The evaluations are those of the slowest.
    """
    atol = checked_number("atol", atol, "(0, inf)")
    rtol = checked_number("rtol", rtol, "[0, inf)")
    ends = [float(times[0]), max(float(times[-1]), 0.0)]
    start, stop = (float(value) for value in schedule.half_log_snr(torch.tensor(ends)))
    if ends[0] != ends[1]:
        x = approach(denoiser, x, schedule, start, stop, order, data, taylor, atol, rtol)
    if times[-1] == CLEAN:
        x = denoiser.clean(x, schedule.points([0])[0])
    return x


def approach(
    denoiser: Denoiser, x: Tensor, schedule: NoiseLevels, start: float, stop: float,
    order: int, data: bool, taylor: bool, atol: float, rtol: float,
) -> Tensor:  # fmt: skip
    """From lambda = start to stop.

    here -> lambda_s; h -> h; previous -> x_prev, the last accepted result of the lower order.
    """
    x, previous = x.clone(), x.clone()
    here = torch.full((len(x),), start, dtype=torch.float64)
    h = torch.full_like(here, FIRST_STEP if stop > start else -FIRST_STEP)
    h = torch.where(h.abs() > abs(stop - here), stop - here, h)
    for _ in range(MOST_TRIALS):
        moving = ((stop - here).abs() > NEAR).nonzero()[:, 0]
        if len(moving) == 0:
            denoiser.call.rows = None
            return x
        group = points_between(schedule, here[moving], h[moving], SPLITS[order], x)
        rows = denoiser.call.rows = moving.to(x.device)
        higher, predictions = group_step(denoiser, x[rows], group, data, taylor)
        lower = lower_order(x[rows], predictions[:-1], group, data, taylor)
        error = scaled_error(higher, lower, previous[rows], atol, rtol)
        accepted = error <= 1
        good = accepted.to(x.device)
        x[rows[good]], previous[rows[good]] = higher[good], lower[good]
        here[moving[accepted]] += h[moving[accepted]]
        longer = SAFETY * h[moving] * error.clamp_min(1e-10) ** (-1 / order)
        left = stop - here[moving]
        h[moving] = torch.where(longer.abs() < left.abs(), longer, left)
    raise InputError(
        f"method='adaptive': no end after {MOST_TRIALS} trials; raise atol and rtol, or use "
        "method='multistep'"
    )


def points_between(
    schedule: NoiseLevels, here: Tensor, h: Tensor, splits: Sequence[float], x: Tensor
) -> list[Point]:
    """Points of one step per sample, at the shares `splits` of h in lambda."""
    last = len(schedule) - 1
    times = (schedule.time_at(here + split * h).clamp(0, last) for split in splits)
    return [schedule.per_sample(t, x) for t in times]


def lower_order(
    x: Tensor, predictions: Sequence[Tensor], group: Sequence[Point], data: bool, taylor: bool
) -> Tensor:
    """The step of one order less with the evaluations at hand."""
    t, s = group[0], group[-1]
    if len(predictions) == 1:
        return taylor_step(x, predictions, t, s, data)
    share = (group[1].half_log_snr - t.half_log_snr) / (s.half_log_snr - t.half_log_snr)
    slope = (predictions[1] - predictions[0]) / share
    return second_order_step(x, predictions[0], slope, t, s, data, taylor)


def scaled_error(
    higher: Tensor, lower: Tensor, previous: Tensor, atol: float, rtol: float
) -> Tensor:
    """Root mean square per sample of the difference over what is tolerated; float64 [B], CPU."""
    tolerated = (rtol * torch.maximum(lower.abs(), previous.abs())).clamp_min(atol)
    error = ((higher - lower) / tolerated).flatten(1).square().mean(1).sqrt().double().cpu()
    if not bool(error.isfinite().all()):
        raise InputError("denoiser: returned values that are not finite")
    return error
