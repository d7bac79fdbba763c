"""Counts that two runtimes disagree on: float ties, or errors.

Two correct runtimes add up a convolution in different orders. Where the result lies on a rounding
boundary of a neuron, one counts a spike more, and what reads that neuron may follow. So a sample in
which counts differ is excused only if, in the first layer in which they do, every neuron that
differs lies on a boundary.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from snnconvert.neurons.integrate_and_fire import IF
from snnconvert.operators.clip import counts_per_unit, v_init_over

NEAR = 1e-5  # rounding of float32 sums, relative


@dataclass
class Seen:
    """One firing of all layers, as PyTorch did it: by layer, in execution order.

    Attributes:
        counts: in which it ended.
        means: mean inputs.
        cells: the neurons.
        steps: how many the means are over.
    """

    counts: Mapping[str, Tensor]
    means: Mapping[str, Tensor]
    cells: Mapping[str, Any]
    steps: int


def boundary_distance(cell: IF, mean: Tensor, steps: int) -> Tensor:
    """|input - nearest rounding boundary| of each neuron, in counts."""
    level = mean * counts_per_unit(cell.v_threshold, steps, mean) + v_init_over(cell.v_init, mean)
    return (level - level.round()).abs()


@dataclass
class Disagreement:
    """What differs between two runs, by sample.

    Attributes:
        counts: how many counts differ.
        ties: samples that a float tie explains, bool [rows].
        errors: samples that nothing explains, bool [rows].
        layers: the first layer that differs in each sample of `errors`.
    """

    counts: int
    ties: Tensor
    errors: Tensor
    layers: list[str]


def disagreement(seen: Seen, found: Mapping[str, Tensor], rows: int) -> Disagreement:
    """How `found` counts differ from those that PyTorch saw, in a batch of `rows` samples."""
    decided = torch.zeros(rows, dtype=torch.bool)
    result = Disagreement(0, decided.clone(), decided.clone(), [])
    for name, wanted in seen.counts.items():
        wrong = (found[name] != wanted).reshape(rows, -1)
        result.counts += int(wrong.sum())
        fresh = wrong.any(1) & ~decided
        if not bool(fresh.any()):
            continue
        cell: IF = seen.cells[name]
        near = NEAR * max(100, cell.levels)
        on_boundary = boundary_distance(cell, seen.means[name], seen.steps).reshape(rows, -1) < near
        tied = (~wrong | on_boundary).all(1)
        result.ties |= fresh & tied
        result.errors |= fresh & ~tied
        result.layers += [name] * int((fresh & ~tied).sum())
        decided |= fresh
    return result
