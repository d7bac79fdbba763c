"""The plain simulation: real spikes, currents of single steps, potentials added up as they come.

Slow and, in float32, rounded in another order than the quantised network. It shares no arithmetic
with `simulation` and is what the tests hold that against.

A step has a weight: 1 under the rate code, 2^(T-1-k) / levels in step k of T under the radix code;
s is the sum of the weights that a result is the mean over (rate: min(k, T), deferred T; radix: 1).
Per step: an analog current and the constant part of an affine operation come with the weight of
the step, and only while the input is presented; an operation that does not commute with the mean
passes the telescoping difference s*f(S/s) - s'*f(S'/s') of the accumulated input S.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor
from torch.utils import _pytree as pytree

from snnconvert.conversion.graph.nodes import Neuron
from snnconvert.conversion.graph.program import Node
from snnconvert.conversion.graph.values import substitute
from snnconvert.conversion.rules import is_commuting
from snnconvert.conversion.spiking.network import SpikingNetwork
from snnconvert.conversion.spiking.simulation import depths
from snnconvert.neurons.integrate_and_fire import IF
from snnconvert.neurons.potential import PotentialNode
from snnconvert.neurons.radix import digit_weights
from snnconvert.neurons.spike_by_spike import ClippedIFNode
from snnconvert.operators.clip import along_channels


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
            each layer is judged on the same input spikes (neurons held as counts only).
    """

    def __init__(self, network: SpikingNetwork, forced: Mapping[str, Tensor] | None = None):
        self.network = network
        self.executor = network.executor
        self.forced = forced
        self.deferred = network.config.firing == "deferred"
        self.operations = {node.name: run for node, run, _ in self.executor.dynamic if run}
        self.depth = depths(self.executor)
        self.timesteps, levels = network.config.timesteps, network.config.levels
        self.radix = network.config.code == "radix"
        unit = 1 / levels if self.radix else 1.0
        places = digit_weights(levels) if self.radix else [1] * self.timesteps
        self.spike_worths = [place * unit for place in places]
        self.unit = unit
        self.cells: dict[str, Any] = {}
        self.collected: dict[str, Tensor] = {}  # input so far of neurons that first collect it
        self.sums: dict[str, Any] = {}  # accumulated operands of non-linear operations
        self.before: dict[str, Any] = {}  # s * f(S / s) of the step before
        self.at_zero: dict[str, Any] = {}  # f(0) of affine operations
        self.names = network.names
        self.rows: dict[str, list[Tensor]] = {n.name: [] for n in self.executor.neurons}
        self.result = Plain(mismatches=dict.fromkeys(network.layers, 0))

    @torch.no_grad()
    def run(self, *args: Any, steps: int, **kwargs: Any) -> Plain:
        """Simulate one call for `steps` clock steps."""
        program = self.executor.program
        fixed = self.executor.start(self.network.constants, program.bind(args, kwargs))
        signed = self.network.config.signed and not self.deferred
        self.cells = {
            name: ClippedIFNode(cell, signed, self.unit)
            if isinstance(cell, IF)
            else PotentialNode(cell, signed)
            for name, cell in self.network.cells(fixed).items()
        }
        moving = program.output_names & self.executor.dynamic_names
        totals: dict[str, Tensor] = {}
        for step in range(1, steps + 1):
            values = dict(fixed)
            for node, _, _ in self.executor.dynamic:
                values[node.name] = self._current(node, values, step)
            for name in moving:
                totals[name] = totals[name] + values[name] if name in totals else values[name]
        weight = self._weight_until(steps)
        values = {**fixed, **{name: total / weight for name, total in totals.items()}}
        self.result.output = substitute(program.output, lambda ref: values[ref.name])
        self.result.trains = {self.names[n]: torch.stack(rows) for n, rows in self.rows.items()}
        return self.result

    def _presented(self, step: int) -> float:
        """Weight of the analog input in a step; 0 once it is no longer presented."""
        return self.spike_worths[step - 1] if step <= self.timesteps else 0.0

    def _weight_until(self, step: int) -> float:
        """Sum of the weights that a result after `step` is the mean over."""
        if self.radix:
            return 1.0
        return self.timesteps if self.deferred else min(step, self.timesteps)

    def _current(self, node: Node, values: dict[str, Any], step: int) -> Any:
        presented = self._presented(step)
        if Neuron.found(node):
            source = self.executor.currents[node.name]
            analog = source not in self.executor.dynamic_names
            current = values[source]
            return self._fire(node, current * presented if analog else current, step)
        moving = [name for name in node.refs if name in self.executor.dynamic_names]
        if is_commuting(node, moving):
            current = self._evaluate(node, values)
            if presented == 1:
                return current
            if node.name not in self.at_zero:
                rest = {name: pytree.tree_map(torch.zeros_like, values[name]) for name in moving}
                self.at_zero[node.name] = self._evaluate(node, {**values, **rest})

            def constant_part(value: Any, constant: Any) -> Any:
                return value - (1 - presented) * constant

            return pytree.tree_map(constant_part, current, self.at_zero[node.name])
        s = self._weight_until(step)
        for name in moving:
            key = f"{node.name}/{name}"
            total = self.sums.get(key)
            self.sums[key] = values[name] if total is None else total + values[name]
        means = {name: self.sums[f"{node.name}/{name}"] / s for name in moving}
        now = self._evaluate(node, {**values, **means}) * s
        before, self.before[node.name] = self.before.get(node.name), now
        return now if before is None else now - before

    def _evaluate(self, node: Node, values: dict[str, Any]) -> Any:
        return self.operations[node.name](values)

    def _fire(self, node: Node, current: Tensor, step: int) -> Tensor:
        name, cell = node.name, self.cells[node.name]
        window, within = divmod(step - 1, self.timesteps)
        weight = self.spike_worths[within]
        fires = not self.deferred or window == self.depth[name]
        if isinstance(cell, PotentialNode):
            spikes = self._drive(name, cell, current, step, fires)
            self.rows[name].append(spikes.to(torch.int8))
            return spikes * along_channels(cell.cell.gain, current).to(current.dtype)
        cell.neuronal_charge(current)
        spikes = cell.neuronal_fire(weight) if fires else torch.zeros_like(current)
        if self.forced is not None:
            wanted = self._wanted(name, step, spikes)
            wrong = spikes != wanted
            if bool(wrong.any()):
                self.result.mismatches[self.names[name]] += int(wrong.sum())
                far = float(cell.boundary_distance(weight)[wrong].max())
                self.result.mismatch_distance = max(self.result.mismatch_distance, far)
            spikes = wanted
        charge = spikes * weight
        cell.neuronal_reset(charge)
        self.rows[name].append(spikes.to(torch.int8))
        result: Tensor = charge * cell.v_threshold
        return result

    def _drive(
        self, name: str, cell: PotentialNode, current: Tensor, step: int, fires: bool
    ) -> Tensor:
        """One step of a neuron that keeps its potential; deferred, of its collected mean."""
        if not self.deferred:
            cell.presented = step <= self.timesteps
            result: Tensor = cell(current)
            return result
        total = self.collected.get(name)
        self.collected[name] = total = current if total is None else total + current
        return cell(total / self.timesteps) if fires else torch.zeros_like(current)

    def _wanted(self, name: str, step: int, like: Tensor) -> Tensor:
        """The forced spikes of this step; deferred trains start when the first layer may fire."""
        first = self.timesteps if self.deferred else 0
        assert self.forced is not None
        if step <= first:
            return torch.zeros_like(like)
        return self.forced[self.names[name]][step - 1 - first].to(like.dtype)
