"""The error of a denoiser's output against its diffusion time."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from snnconvert.conversion.calibration.over_t import time_argument
from snnconvert.conversion.graph.program import Program
from snnconvert.conversion.graph.values import leaves
from snnconvert.errors import InputError

PARTS = 12  # of the range of t


class ByTime:
    """Accumulates squared errors by sample, and says what they are in parts of the range of t.

    Args:
        program: of the network; where it takes no t, there is nothing to tell.
    """

    def __init__(self, program: Program) -> None:
        self.index: int | None = None
        self.rows: list[Tensor] = []  # [B, 5]: t, then (square, scale) of both comparisons
        try:
            name = time_argument(program, None)[1]
        except InputError:
            return
        if len(program.inputs) > 1:
            self.index = program.inputs.index(name)

    def add(self, inputs: Sequence[Tensor], found: Any, qann: Any, ann: Any | None) -> None:
        """One call: its inputs, and the outputs of the three networks (of the ANN, or None)."""
        if self.index is None:
            return
        output, t = leaves(found)[0], inputs[self.index].flatten()
        if len(t) != len(output):
            return
        columns = [t.double()]
        for wanted in (qann, ann):
            other = leaves(qann if wanted is None else wanted)[0].double()
            gap = output.double() - other
            columns += [v.square().flatten(1).sum(1) for v in (gap, other)]
        self.rows.append(torch.stack(columns, 1).cpu())

    def to_list(self, against_ann: bool) -> list[dict[str, Any]] | None:
        """A row for each part of the range of t; None where there is no range."""
        if not self.rows:
            return None
        rows = torch.cat(self.rows)
        low, high = float(rows[:, 0].min()), float(rows[:, 0].max())
        if len(rows[:, 0].unique()) < PARTS:
            return None
        width = (high - low) / PARTS
        part = ((rows[:, 0] - low) / width).long().clamp_(0, PARTS - 1)
        found = []
        for number in range(PARTS):
            inside = rows[part == number].sum(0)
            if not bool((part == number).any()):
                continue
            errors = [float(inside[k] / inside[k + 1]) ** 0.5 if inside[k + 1] else 0.0
                      for k in (1, 3)]  # fmt: skip
            found.append({
                "t_low": low + number * width, "t_high": low + (number + 1) * width,
                "inputs": int((part == number).sum()), "relative_error": errors[0],
                "relative_error_ann": errors[1] if against_ann else None,
            })  # fmt: skip
        return found
