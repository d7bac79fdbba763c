"""Spikes that operations hand on although they do not commute with the mean: max pools.

What such an operation selects from counts that move by one spike at a time moves by one at a time
itself, as long as all that it selects from are spikes of one size: the largest of several counts
cannot change by more than any of them did. (Under the radix code too: what a neuron has emitted by
a step is its count cut off at a digit, and cutting off keeps the order.) So what comes out is a
train of spikes, and whoever reads it has nothing to do in a step in which it rests.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import torch
from torch import Tensor
from torch.utils import _pytree as pytree

from snnconvert.conversion.execution.executor import Executor, Values
from snnconvert.conversion.graph.program import Node
from snnconvert.conversion.rules import RULES

GETITEM = "aten.getitem"
Run = Callable[[Values], Any]


class Relay:
    """Counts the spikes that selecting operations emit in one call.

    Args:
        executor: of the network.
        values: of the call: constants, inputs, all that depends on no spike.
        cells: the neurons by node name.
        sums: whether operations see counts so far; else the spikes of each step by themselves.

    Attributes:
        emitted: by the name of an operation, its spikes so far, as it returns them.
    """

    def __init__(
        self, executor: Executor, values: Values, cells: Mapping[str, Any], sums: bool = True
    ) -> None:
        self.fixed, self.cells, self.sums = values, cells, sums
        self.chain = selecting(executor, values)
        self.sources = {name for node, _ in self.chain for name in node.refs} & set(cells)
        self.counts: dict[str, Tensor] = {}
        self.before: dict[str, Tensor] = {}
        self.emitted: dict[str, Tensor] = {}
        self.moved = False  # since the last step
        self.checked = False

    def add(self, name: str, spikes: Tensor, weight: int = 1) -> None:
        """A neuron layer fired `spikes`, which weigh so much each."""
        if name not in self.sources:
            return
        self.moved = True
        so_far = self.counts.get(name) if self.sums else None
        self.counts[name] = spikes * weight if so_far is None else so_far.add(spikes, alpha=weight)

    def rest(self, name: str, like: Tensor) -> None:
        """A neuron layer was not looked at; `like` has the shape of its spikes."""
        if name in self.sources and name not in self.counts:
            self.counts[name] = torch.zeros_like(like)

    def carry(self, counts: Mapping[str, Tensor]) -> None:
        """The call goes on from these counts."""
        self.counts = {name: n.clone() for name, n in counts.items() if name in self.sources}
        if self.chain and self.sources <= set(self.counts):
            self.before = self._selected()

    def end_step(self) -> None:
        """All neurons have fired; what moved among the selected values is a spike each."""
        if not self.moved or not self.sources <= set(self.counts):
            return
        self.moved = False
        for name, value in self._selected().items():
            before = self.before.get(name)
            changed = (value != (0 if before is None else before)).to(torch.float32)
            so_far = self.emitted.get(name)
            self.emitted[name] = changed if so_far is None else so_far.add_(changed)
            if self.sums:
                self.before[name] = value

    def _selected(self) -> dict[str, Tensor]:
        """The results of the operations, in spikes."""
        if not self.checked:
            self.chain, self.checked = of_one_size(self.chain, self._sizes(), self.fixed), True
        values = {**self.fixed, **self.counts}
        for node, run in self.chain:
            values[node.name] = run(values)
        return {node.name: values[node.name] for node, _ in self.chain
                if isinstance(values[node.name], Tensor)}  # fmt: skip

    def _sizes(self) -> dict[str, Tensor]:
        """What one spike of each neuron is worth."""
        return {n: self.cells[n].value(torch.ones_like(v)) for n, v in self.counts.items()}


def selecting(executor: Executor, values: Values) -> list[tuple[Node, Run]]:
    """Operations that read spikes alone and move or select them, up to the last that selects."""
    passing = {node.name for node in executor.neurons}
    pairs: set[str] = set()  # operations that may give (what they select, where it was)
    found: list[tuple[Node, Run]] = []
    last = 0
    for node, run, _ in executor.dynamic:
        if run is None or not (RULES[node.op].hands_on or RULES[node.op].selects):
            continue
        fixed = (values[name] for name in node.refs if name in values)
        if any(isinstance(value, (Tensor, list, tuple)) for value in fixed):
            continue
        picks = node.op == GETITEM and node.refs[0] in pairs
        if picks and node.args[1] != 0:
            continue
        if all(name in passing for name in node.refs if name not in values):
            passing.add(node.name)
            found.append((node, run))
            if RULES[node.op].selects:
                pairs.add(node.name)
            if picks or node.name in pairs:
                last = len(found)
    return found[:last]


def of_one_size(
    chain: list[tuple[Node, Run]], sizes: Mapping[str, Tensor], fixed: Values
) -> list[tuple[Node, Run]]:
    """The operations of `chain` that select among spikes of one size.

    Args:
        sizes: of one spike of each neuron, in the shape of the spikes.
    """
    values = {**fixed, **sizes}
    kept = []
    for node, run in chain:
        if not all(name in values for name in node.refs):
            continue
        value = run(values)
        if RULES[node.op].selects and not is_alike(node, run, values):
            continue
        values[node.name] = value
        kept.append((node, run))
    return kept


def is_alike(node: Node, run: Run, values: Values) -> bool:
    """Whether the sizes that `node` selects from are equal; those of 0, of no spike, aside."""

    def selected(sign: int, nothing: float) -> Tensor:
        def changed(size: Tensor) -> Tensor:
            return torch.where(size == 0, nothing, size) * sign

        read = {name: pytree.tree_map_only(Tensor, changed, values[name]) for name in node.refs}
        result = run({**values, **read})
        largest: Tensor = result if isinstance(result, Tensor) else result[0]
        return largest * sign

    most, least = selected(1, 0.0), selected(-1, torch.inf)
    return torch.equal(most, least)
