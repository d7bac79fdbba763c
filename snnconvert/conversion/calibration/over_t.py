"""The range of the diffusion time divided, so that thresholds can depend on it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from snnconvert.common.inputs import TIMES
from snnconvert.conversion.calibration.batches import Kept
from snnconvert.conversion.graph.nodes import Lookup
from snnconvert.conversion.graph.program import Node, Program, Ref
from snnconvert.conversion.graph.signature import BATCH
from snnconvert.errors import InputError
from snnconvert.operators.threshold_table import rows_at

BEYOND = 0.05  # of the calibrated range: how far outside t may lie, in the outermost rows
EDGES = "thresholds_over_t_edges"  # name of the constant that all lookups share


@dataclass(frozen=True)
class OverT:
    """Where the rows of a table over t begin and end.

    Attributes:
        argument: the caller's name of t; input: the program's.
        edges: [N - 1], between the rows, so that each has seen about as many values of t.
        low, high: t that may come: the calibrated ones and a little more.
        inputs: number of calibration inputs of each row.
    """

    argument: str
    input: str
    edges: Tensor
    low: float
    high: float
    inputs: tuple[int, ...]

    def rows(self, program: Program, call: Sequence[Tensor]) -> Tensor:
        """The row of each input of a call, [B], or [1] where t is one number for all."""
        return rows_at(call[program.inputs.index(self.input)], self.edges)

    def lookup(self, name: str, table: str, layer: str) -> Node:
        """The operation that takes each sample's thresholds from a table."""
        found = Lookup(Ref(table), Ref(self.input), Ref(EDGES), self.low, self.high)
        return found.node(name, layer)

    def to_dict(self) -> dict[str, Any]:
        return {
            "argument": self.argument, "rows": len(self.inputs), "low": self.low,
            "high": self.high, "edges": self.edges.tolist(), "inputs": list(self.inputs),
        }  # fmt: skip


def time_argument(
    program: Program, named: str | None, option: str = "thresholds_over_t"
) -> tuple[str, str]:
    """(the caller's name of t, the program's input).

    Args:
        named: by the caller; None: the argument called t, timestep, timesteps, time or sigma, else
            the second one, if it is one number for each sample.
        option: that needs it, for messages.

    Raises:
        InputError: there is none, or it holds more than one number for each sample.
    """
    values = program.signature.values if program.signature else {n: Ref(n) for n in program.inputs}
    tensors = {name: ref.name for name, ref in values.items() if isinstance(ref, Ref)}
    given = ", ".join(values)
    if named is not None and named not in tensors:
        raise InputError(f"t_argument: found {named!r}, the network's tensors are: {given}")
    found = named or next((name for name in TIMES if name in tensors), None)
    if found is None and len(tensors) > 1 and program.takes_one_number(list(tensors.values())[1]):
        found = list(tensors)[1]
    if found is None:
        raise InputError(
            f"{option}: which of the inputs ({given}) is t? None is called "
            f"{', '.join(TIMES)}, and the second is no tensor [B]; name it: t_argument=..."
        )
    if not program.takes_one_number(tensors[found]):
        sizes = [
            "B" if size == BATCH else str(size) for size in _shape(program, tensors[found]) or ()
        ]
        raise InputError(
            f"{option}: {found} has shape [{', '.join(sizes)}]; needed is one number for "
            "each sample, [B], or one for all: name another, t_argument=..."
        )
    return found, tensors[found]


def _shape(program: Program, name: str) -> tuple[int, ...] | None:
    return program.signature.shapes.get(name) if program.signature else None


def divided(program: Program, kept: Kept, rows: int, named: str | None) -> OverT:
    """The division of the times among `kept` into `rows` parts of equally many values.

    Raises:
        InputError: no argument is t, a time is no finite number, or too few differ.
    """
    argument, name = time_argument(program, named)
    index = program.inputs.index(name)
    each = []
    for call in kept.calls():
        alone = [len(call[kept.along[0]])] if kept.along and call[index].numel() == 1 else []
        each.append(call[index].reshape(-1).float().expand(alone or -1))
    times = torch.cat(each)
    values = times.unique()  # sorted
    if len(values) < rows:
        raise InputError(
            f"thresholds_over_t: found {rows}, but the calibration inputs hold only {len(values)} "
            f"different {argument}: give inputs over its whole range"
        )
    starts = torch.arange(1, rows) * len(values) // rows
    edges = (values[starts - 1] + values[starts]) / 2
    first, last = float(values[0]), float(values[-1])
    reach = BEYOND * (last - first)
    counts = torch.bincount(rows_at(times, edges), minlength=rows)
    return OverT(argument, name, edges, first - reach, last + reach, tuple(counts.tolist()))
