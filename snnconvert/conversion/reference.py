"""The plain simulation: real spikes, currents of single steps, potentials added up as they come.

Slow and, in float32, rounded in another order than the quantised network. It shares no arithmetic
with `simulate.py` and is what the tests hold that against.

Per step k, with s = min(k, T): an affine operation passes its step's current (its constant part
only while the input is presented); an operation that does not commute with the mean passes the
telescoping difference s*f(S/s) - s'*f(S'/s') of the accumulated input S.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor
from torch.utils import _pytree as pytree

from snnconvert.conversion.network import SpikingNetwork
from snnconvert.conversion.program import Node, substitute
from snnconvert.conversion.rules import NEURON, is_commuting
from snnconvert.conversion.simulate import depths
from snnconvert.neurons.spike_by_spike import ClippedIFNode


@dataclass
class Plain:
    """Result of a plain simulation.

    Attributes:
        output: mean current at the output, in the module's structure.
        trains: int8 [steps, B, ...] per neuron layer.
        mismatches: number of spikes that differ from the forced ones, per layer.
        mismatch_distance: largest distance to a firing boundary among those, in thresholds.
    """

    output: Any = None
    trains: dict[str, Tensor] = field(default_factory=dict)
    mismatches: dict[str, int] = field(default_factory=dict)
    mismatch_distance: float = 0.0


class PlainSimulation:
    """Simulates `network` for a given number of clock steps.

    Args:
        network: firing immediate or deferred, norm accumulated.
        forced: trains that replace the spikes of every layer after they were compared, so that
            each layer is judged on the same input spikes.
    """

    def __init__(self, network: SpikingNetwork, forced: Mapping[str, Tensor] | None = None):
        self.network = network
        self.executor = network.executor
        self.forced = forced
        self.deferred = network.config.firing == "deferred"
        self.depth = depths(self.executor)
        self.cells = {
            name: ClippedIFNode(cell, network.config.signed and not self.deferred)
            for name, cell in network.neurons.items()
        }
        self.sums: dict[str, Any] = {}  # accumulated operands of non-linear operations
        self.before: dict[str, Any] = {}  # s * f(S / s) of the step before
        self.at_zero: dict[str, Any] = {}  # f(0) of affine operations
        self.rows: dict[str, list[Tensor]] = {name: [] for name in self.cells}
        self.result = Plain(mismatches=dict.fromkeys(self.cells, 0))

    @torch.no_grad()
    def run(self, *inputs: Tensor, steps: int) -> Plain:
        """Simulate one call for `steps` clock steps."""
        timesteps = self.network.config.timesteps
        fixed = self.executor.start(self.network.constants, inputs)
        totals: dict[str, Tensor] = {}
        for step in range(1, steps + 1):
            values = dict(fixed)
            s = timesteps if self.deferred else min(step, timesteps)
            for node, _, _ in self.executor.dynamic:
                values[node.name] = self._current(node, values, step, s)
            for name in self.executor.output_names:
                totals[name] = totals[name] + values[name] if name in totals else values[name]
        self.result.output = substitute(
            self.executor.program.output, lambda ref: totals[ref.name] / min(steps, timesteps)
        )
        self.result.trains = {name: torch.stack(rows) for name, rows in self.rows.items()}
        return self.result

    def _current(self, node: Node, values: dict[str, Any], step: int, s: int) -> Any:
        if node.op == NEURON:
            source = node.args[0].name
            silent = source not in self.executor.dynamic_names and (
                step > self.network.config.timesteps  # the input is no longer presented
            )
            current = torch.zeros_like(values[source]) if silent else values[source]
            return self._fire(node, current, step)
        moving = [name for name in node.refs if name in self.executor.dynamic_names]
        if is_commuting(node, moving):
            current = self._evaluate(node, values)
            if step <= self.network.config.timesteps:
                return current
            if node.name not in self.at_zero:
                rest = {name: pytree.tree_map(torch.zeros_like, values[name]) for name in moving}
                self.at_zero[node.name] = self._evaluate(node, {**values, **rest})
            return pytree.tree_map(torch.sub, current, self.at_zero[node.name])
        for name in moving:
            key = f"{node.name}/{name}"
            total = self.sums.get(key)
            self.sums[key] = values[name] if total is None else total + values[name]
        means = {name: self.sums[f"{node.name}/{name}"] / s for name in moving}
        now = self._evaluate(node, {**values, **means}) * s
        before, self.before[node.name] = self.before.get(node.name), now
        return now if before is None else now - before

    def _evaluate(self, node: Node, values: dict[str, Any]) -> Any:
        run = next(run for known, run, _ in self.executor.dynamic if known is node)
        assert run is not None  # neurons never come here
        return run(values)

    def _fire(self, node: Node, current: Tensor, step: int) -> Tensor:
        name, cell = node.name, self.cells[node.name]
        cell.neuronal_charge(current)
        window = (step - 1) // self.network.config.timesteps
        if self.deferred and window != self.depth[name]:
            spikes = torch.zeros_like(current)
        else:
            spikes = cell.neuronal_fire()
        if self.forced is not None:
            wanted = self._wanted(name, step, spikes)
            wrong = spikes != wanted
            if bool(wrong.any()):
                self.result.mismatches[name] += int(wrong.sum())
                far = float(cell.boundary_distance()[wrong].max())
                self.result.mismatch_distance = max(self.result.mismatch_distance, far)
            spikes = wanted
        cell.neuronal_reset(spikes)
        self.rows[name].append(spikes.to(torch.int8))
        return spikes * cell.v_threshold

    def _wanted(self, name: str, step: int, like: Tensor) -> Tensor:
        """The forced spikes of this step; deferred trains start when the first layer may fire."""
        first = self.network.config.timesteps if self.deferred else 0
        assert self.forced is not None
        if step <= first:
            return torch.zeros_like(like)
        return self.forced[name][step - 1 - first].to(like.dtype)
