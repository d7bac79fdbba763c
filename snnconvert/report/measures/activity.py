"""What the neurons of a layer do: counts against activations, silent and saturated ones."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from snnconvert.operators.clip import along_channels

BINS = 40  # of the activation
MOST_ROWS = 33  # of the count
LOW, HIGH = -0.75, 1.75  # of the activation over its threshold; what is beyond is in the outer bins
LOOKED_AT = 1 << 17  # values of one batch


class LayerActivity:
    """Accumulates a table of counts by activations, and which neurons never or always fire."""

    def __init__(self, levels: int, lowest: int) -> None:
        self.levels, self.lowest = levels, lowest
        self.low = -HIGH if lowest < 0 else LOW
        self.rows = min(MOST_ROWS, levels - lowest + 1)
        self.table = torch.zeros(BINS * self.rows, dtype=torch.int64)
        self.silent: Tensor | None = None  # bool, of one sample's shape
        self.saturated: Tensor | None = None

    def add(self, a: Tensor, theta: Tensor, counts: Tensor, emitted: Tensor) -> None:
        """One batch.

        Args:
            a: what the quantised ANN's activation sees.
            theta: its ceiling.
            counts, emitted: signed count and number of spikes of each neuron.
        """
        step = -(-a.numel() // LOOKED_AT)
        x = (a / along_channels(theta, a)).flatten()[::step]
        n = counts.flatten()[::step]
        column = ((x - self.low) * (BINS / (HIGH - self.low))).floor_().clamp_(0, BINS - 1)
        column = column.nan_to_num_(0).long()
        row = ((n - self.lowest) * (self.rows / (self.levels - self.lowest + 1))).floor_()
        row = row.nan_to_num_(0).long()
        found = torch.bincount(column * self.rows + row, minlength=len(self.table))
        self.table += found.cpu()
        silent, saturated = (emitted == 0).all(0), (counts.abs() == self.levels).all(0)
        if self.silent is None or self.saturated is None:
            self.silent, self.saturated = silent, saturated
        elif self.silent.shape == silent.shape:
            self.silent &= silent
            self.saturated &= saturated

    def to_dict(self) -> dict[str, Any]:
        """Plain values: `table[i][j]` inputs in the i-th bin of the activation whose count is in
        the j-th row (lowest first); how many neurons no input moved, or drove to the top."""
        silent = float(self.silent.double().mean()) if self.silent is not None else 0.0
        top = float(self.saturated.double().mean()) if self.saturated is not None else 0.0
        return {
            "low": self.low, "high": HIGH, "bins": BINS, "rows": self.rows,
            "lowest": self.lowest, "levels": self.levels,
            "table": self.table.view(BINS, self.rows).tolist(),
            "always_silent": silent, "always_saturated": top,
        }  # fmt: skip
