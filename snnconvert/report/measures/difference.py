"""How far the results of one network are from those of another."""

from __future__ import annotations

from typing import Any

import torch
from torch import nn

from snnconvert.conversion.graph.values import leaves
from snnconvert.errors import InputError


class Difference:
    """Accumulates how far one output is from another, over every tensor in it."""

    def __init__(self) -> None:
        self.square = self.scale = self.largest = 0.0
        self.equal = True

    def add(self, found: Any, wanted: Any) -> None:
        for a, b in zip(leaves(found), leaves(wanted), strict=True):
            if not (bool(a.isfinite().all()) and bool(b.isfinite().all())):
                raise InputError(
                    "compare: a network returned values that are not finite; check its weights "
                    "and the inputs"
                )
            gap = (a.double() - b.double()).abs()
            self.square += gap.square().sum().item()
            self.scale += b.double().square().sum().item()
            self.largest = max(self.largest, gap.max().item())
            self.equal &= torch.equal(a, b)

    def merge(self, other: Difference) -> Difference:
        """Add what another has accumulated."""
        self.square, self.scale = self.square + other.square, self.scale + other.scale
        self.largest, self.equal = max(self.largest, other.largest), self.equal and other.equal
        return self

    @property
    def relative_error(self) -> float:
        result: float = (self.square / self.scale) ** 0.5 if self.scale else self.square**0.5
        return result

    def to_dict(self) -> dict[str, Any]:
        return {
            "relative_error": self.relative_error,
            "max_abs_error": self.largest,
            "bit_equal": self.equal,
        }


def error_of(network: nn.Module, teacher: nn.Module, inputs: list[Any]) -> float:
    """Relative error of what `network` returns against what `teacher` does."""
    gap = Difference()
    with torch.no_grad():
        for call in inputs:
            gap.add(network(*call), teacher(*call))
    return gap.relative_error
