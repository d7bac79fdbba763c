"""Distribution of a layer's activations, per channel, in bounded memory however long the stream."""

from __future__ import annotations

import torch
from torch import Tensor

from snnconvert.common.subsample import drawn

BINS = 512
VALUES_PER_BATCH = 1 << 19  # binned per layer and batch; the largest value is taken from all


class Histogram:
    """Counts of magnitudes per row (channel), over two halves of the data.

    The halves tell whether the data suffice: thresholds from one must agree with the other's. When
    a value beyond the range appears, the bins of its row are merged in pairs and the range doubles.

    Attributes:
        counts: [2, rows, BINS], zeros not counted.
        width: [rows], of a bin; 0 while a row has seen zeros only.
        largest: [2, rows].
        farthest: [rows], the largest of all, with values that are so rare that they do not count.
        values: [2], number of values per row, zeros included.
    """

    def __init__(self, rows: int, device: torch.device | None = None) -> None:
        exact = torch.float32  # whatever the default is
        self.counts = torch.zeros(2, rows, BINS, dtype=exact, device=device)
        self.width = torch.zeros(rows, dtype=exact, device=device)
        self.largest = torch.zeros(2, rows, dtype=exact, device=device)
        self.farthest = torch.zeros(rows, dtype=exact, device=device)
        self.values = torch.zeros(2, dtype=exact)

    def add(self, values: Tensor, half: int) -> None:
        """Count |values| ([rows, n]) in one half; what is not finite shows in `largest` alone."""
        values = values.abs().float()
        top = values.amax(1)
        self.farthest = self.farthest.maximum(top)
        self.largest[half] = self.largest[half].maximum(top)
        if not bool(top.isfinite().all()):
            return
        self._widen(top)
        values = drawn(values, max(1, VALUES_PER_BATCH // len(values)))
        self.values[half] += values.shape[1]
        width = self.width.where(self.width > 0, 1.0)
        bins = (values / width[:, None]).long().clamp_(max=BINS - 1)
        bins += torch.arange(len(values), device=bins.device)[:, None] * BINS
        counts = torch.bincount(bins[values > 0], minlength=self.counts[half].numel())
        self.counts[half] += counts.view_as(self.counts[half])

    def reach(self, values: Tensor) -> None:
        """Only note how far |values| ([rows, n]) go."""
        self.farthest = self.farthest.maximum(values.abs().float().amax(1))

    def _widen(self, top: Tensor) -> None:
        fresh = (self.width == 0) & (top > 0)
        self.width[fresh] = top[fresh] / BINS
        while bool((narrow := top > self.width * BINS * (1 + 1e-6)).any()):
            merged = self.counts[:, narrow].unflatten(2, (BINS // 2, 2)).sum(3)
            self.counts[:, narrow] = torch.cat([merged, torch.zeros_like(merged)], 2)
            self.width[narrow] *= 2

    def centers(self) -> Tensor:
        """[rows, BINS], the value that stands for each bin."""
        bins = torch.arange(BINS, dtype=self.width.dtype, device=self.width.device)
        return (bins + 0.5) * self.width[:, None]
