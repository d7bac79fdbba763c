"""Ceilings from distributions: where to clip an activation so that quantising it costs least."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import torch
from torch import Tensor

from snnconvert.conversion.calibration import percentage
from snnconvert.conversion.calibration.histogram import Histogram

CANDIDATES = 100  # ceilings tried, evenly spaced up to the largest value seen
FINE = 64  # levels beyond which the bins of a histogram do not resolve a step


def ceilings(histogram: Histogram, threshold: str, levels: int, half: int | None = None) -> Tensor:
    """The ceiling of each row, [rows], 0 where it has only seen zeros.

    Args:
        threshold: "mse" (least mean squared error at `levels`; "learned" starts there), "max",
            "percentile" or a percentage of all values, zeros included.
        half: use only this half of the data.
    """
    chosen = slice(None) if half is None else slice(half, half + 1)
    largest = histogram.largest[chosen].amax(0)
    if threshold == "max":
        return largest
    counts, total = histogram.counts[chosen].sum(0), float(histogram.values[chosen].sum())
    percent = percentage(threshold)
    if percent is not None:
        return _percentile(histogram, counts, total, percent).minimum(largest)
    return _least_error(histogram.centers(), counts, largest, levels)


def _percentile(histogram: Histogram, counts: Tensor, total: float, percent: float) -> Tensor:
    above = total * (1 - percent / 100)  # how many values may lie above the ceiling
    from_top = counts.flip(1).cumsum(1).flip(1)  # values in this bin and those above it
    inside = (from_top > above).sum(1)  # bins up to and including the percentile
    inside = torch.where(inside > 0, inside, (counts > 0).any(1).long())
    return inside * histogram.width


def _least_error(centers: Tensor, counts: Tensor, largest: Tensor, levels: int) -> Tensor:
    def error(ceiling: Tensor) -> Tensor:
        step = (ceiling / levels).clamp_min(torch.finfo(torch.float32).tiny)[:, None]
        quantised = (centers / step).add_(0.5).floor_().clamp_(max=levels).mul_(step)
        return quantised.sub_(centers).square_().mul_(counts).sum(1)

    parts = torch.arange(1, CANDIDATES + 1, dtype=largest.dtype) / CANDIDATES
    return least([largest * part for part in parts], error)


def expected_error(histogram: Histogram, ceilings: Tensor, levels: int, half: int) -> Tensor:
    """Mean squared error, [rows], that `ceilings` [rows] make of the values of one half.

    Inside the clip an even spread over each step is assumed where bins are no finer than steps.
    """
    centers, counts = histogram.centers(), histogram.counts[half]
    step = (ceilings / levels).clamp_min(torch.finfo(torch.float32).tiny)[:, None]
    inside = (centers / step).add_(0.5).floor_().mul_(step).sub_(centers).square_()
    if levels > FINE:
        inside = (step**2 / 12).expand_as(centers)
    above = (centers - ceilings[:, None]).clamp_min(0).square_()
    error = torch.where(centers > ceilings[:, None], above, inside)
    return error.mul_(counts).sum(1) / counts.sum(1).clamp_min(1)


def least(candidates: Sequence[Tensor], error: Callable[[Tensor], Tensor]) -> Tensor:
    """Of `candidates`, row by row, the first of the least error; the last where none has one.

    Args:
        candidates: ceilings, [rows] or [] each.
        error: of one of them, in its shape.
    """
    best = candidates[-1]
    least_error = torch.full_like(best, torch.inf)
    for ceiling in candidates:
        found = error(ceiling)
        better = found < least_error
        least_error = torch.where(better, found, least_error)
        best = torch.where(better, ceiling, best)
    return best
