"""What calibration sees of one activation: distributions per channel, and per part of t."""

from __future__ import annotations

import torch
from torch import Tensor

from snnconvert.conversion.calibration.histogram import Histogram
from snnconvert.conversion.calibration.thresholds import ceilings, expected_error
from snnconvert.conversion.prepare.sites import Site
from snnconvert.errors import InputError


class SiteDistributions:
    """Distributions of the values of one site.

    Args:
        site: the activation.
        per_channel: a distribution for each channel instead of one for the layer.
        parts: of the range of t, each with distributions of its own; 1: t does not matter.
    """

    def __init__(self, site: Site, per_channel: bool, parts: int = 1) -> None:
        self.layer = site.layer
        self.axis = site.axis if per_channel else None
        self.parts: list[Histogram | None] = [None] * parts
        bound = site.activation.bound if site.activation else None
        self.bound = torch.inf if bound is None else bound  # of the magnitude of any value
        self.half = 0  # where a single input goes; they take turns
        self.shape: tuple[int, ...] = ()

    def add(self, value: Tensor, rows: Tensor | None, rare: bool = False) -> None:
        """The activation in one call.

        Args:
            rows: which part each input belongs to, [B] or [1] for all of them; None: the first.
            rare: only how large it is is noted.

        Raises:
            InputError: values that are no finite numbers, or whose first axis is not the batch.
        """
        many = len(self.parts) > 1
        self.shape = full_shape(value, self.axis) if many else shape_of(value, self.axis)
        if rows is None or len(rows) == 1:
            self._add(value, 0 if rows is None else int(rows[0]), rare)
            return
        if len(value) != len(rows):
            raise InputError(
                f"{self.layer}: its activation has shape {list(value.shape)}, whose first axis is "
                f"not the batch of {len(rows)}, so its thresholds cannot depend on each sample's "
                "t: use thresholds_over_t=1"
            )
        for part in rows.unique().tolist():
            self._add(value[rows == part], part, rare)

    def _add(self, value: Tensor, part: int, rare: bool) -> None:
        if rare and (known := self.parts[part]) is not None:
            known.reach(channel_rows(value, self.axis))
            return
        if len(value) > 1:
            halves = [(value[::2], 0), (value[1::2], 1)]
        else:
            halves, self.half = [(value, self.half)], 1 - self.half
        histogram = self.parts[part]
        for values, half in halves:
            channels = channel_rows(values, self.axis)
            if histogram is None:
                histogram = self.parts[part] = Histogram(len(channels), value.device)
            histogram.add(channels, half)
        if histogram is not None and not bool(histogram.largest.isfinite().all()):
            raise InputError(
                f"{self.layer}: its activation is NaN or infinite on the calibration data; check "
                "weights and data"
            )

    def ceilings(self, threshold: str, levels: int, half: int | None = None) -> Tensor:
        """As `thresholds.ceilings`, [parts, channels]."""
        return torch.stack([ceilings(h, threshold, levels, half) for h in self.parts if h])

    def reached(self, chosen: Tensor, reach: float) -> Tensor:
        """`chosen` ceilings [parts, channels] moved towards the largest value seen, and beyond.

        Args:
            reach: 0: as chosen; 1: at the largest value; above 1: that multiple of it, but no
                higher than the activation goes.
        """
        if not reach:
            return chosen
        largest = torch.stack([h.farthest for h in self.parts if h])
        moved = chosen + min(reach, 1.0) * (largest - chosen)
        return (moved * max(reach, 1.0)).minimum(largest.clamp_min(self.bound))

    def held_back(self, threshold: str, levels: int) -> float:
        """Root mean square error on half of the data with ceilings from the other half, relative.

        1: as small as on the half that the ceilings come from; infinite where a half is empty.
        """
        if not self.both_halves:
            return torch.inf
        errors = torch.zeros(2)
        for histogram in filter(None, self.parts):
            chosen = ceilings(histogram, threshold, levels, 0)
            for half in (0, 1):
                errors[half] += expected_error(histogram, chosen, levels, half).sum().cpu()
        return float((errors[1] / errors[0]).sqrt()) if float(errors[0]) else 1.0

    @property
    def both_halves(self) -> bool:
        """Whether every part has seen inputs in both halves of the data."""
        return all(bool((h.values > 0).all()) for h in self.parts if h)

    def laid_out(self, chosen: Tensor) -> Tensor:
        """[parts, channels] as [parts, ...] (one part: [...]) that broadcasts over the values."""
        if len(self.parts) > 1:
            return chosen.view(len(chosen), *self.shape)
        return chosen.view(self.shape)


def channel_rows(value: Tensor, axis: int | None) -> Tensor:
    """[channels, values], or [1, values] without a channel axis."""
    if axis is None or value.ndim < 2:
        return value.reshape(1, -1)
    return value.movedim(axis, 0).flatten(1)


def shape_of(value: Tensor, axis: int | None) -> tuple[int, ...]:
    """Shape of one number per channel that broadcasts over `value`: [], [C] or [1, ..., C]."""
    if axis is None or value.ndim < 2:
        return ()
    axis %= value.ndim
    if axis == 1:
        return (value.shape[1],)
    return tuple(n if i == axis else 1 for i, n in enumerate(value.shape))


def full_shape(value: Tensor, axis: int | None) -> tuple[int, ...]:
    """Shape of one number per channel in one sample of `value`: [C, 1, ...] or [1, ...]."""
    axis = None if axis is None or value.ndim < 2 else axis % value.ndim
    return tuple(n if i == axis else 1 for i, n in enumerate(value.shape))[1:]
