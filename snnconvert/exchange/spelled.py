"""A converted network spelled in operations that every runtime has: floor, clip, multiply, add.

The arithmetic is that of `operators.clip` and `neurons.integrate_and_fire`, operation by operation
and in the same order, so that a value on a rounding boundary falls on the same side. Nothing here
depends on how large a tensor is, which keeps the batch open when it is traced.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor, nn

from snnconvert.conversion.execution.executor import Values, call_of
from snnconvert.conversion.graph.nodes import THRESHOLD_AT, Lookup, Neuron
from snnconvert.conversion.graph.program import Node, Ref
from snnconvert.conversion.graph.values import substitute
from snnconvert.conversion.rules import function_of
from snnconvert.conversion.rules.fires import FAKE_QUANTIZE
from snnconvert.conversion.spiking.network import SpikingNetwork
from snnconvert.conversion.spiking.neuron_nodes import cell_of
from snnconvert.neurons.integrate_and_fire import IF
from snnconvert.operators.clip import along_channels, v_init_over

QUANTIZED_WEIGHT = "snnconvert.quantized_weight.default"


def looked_up(node: Node, values: Values) -> Tensor:
    """`operators.threshold_table.threshold_at` without its check of the range of t."""
    lookup = Lookup.of(node)
    table, t, edges = (values[ref.name] for ref in (lookup.table, lookup.t, lookup.edges))
    row: Tensor = (t.reshape(-1, 1).to(edges.dtype) >= edges).long().sum(1)
    result: Tensor = table[row]
    return result


def quantised(node: Node, values: Values) -> Tensor:
    """PyTorch's fake quantiser, of which ONNX has few ranges."""
    x, scale, zero, *axis, low, high = (
        values[arg.name] if isinstance(arg, Ref) else arg for arg in node.args
    )
    if axis:
        shape = [-1 if i == axis[0] % x.ndim else 1 for i in range(x.ndim)]
        scale, zero = scale.view(shape), zero.view(shape)
    result: Tensor = (((x * (1 / scale)).round() + zero).clamp(low, high) - zero) * scale
    return result


def calls_of(network: SpikingNetwork) -> dict[str, Callable[[Values], Any]]:
    """What executes each node but neurons; operations of our own are spelled, or done already."""
    calls: dict[str, Callable[[Values], Any]] = {}
    for node in network.program.nodes:
        if Neuron.found(node):
            continue
        if node.op == THRESHOLD_AT:
            calls[node.name] = lambda values, node=node: looked_up(node, values)  # type: ignore[misc]
        elif node.op == QUANTIZED_WEIGHT:
            rounded = rounded_weight(node, network.constants)
            calls[node.name] = lambda values, rounded=rounded: rounded  # type: ignore[misc]
        elif node.op.removeprefix("aten.") in FAKE_QUANTIZE:
            calls[node.name] = lambda values, node=node: quantised(node, values)  # type: ignore[misc]
        else:
            calls[node.name] = call_of(node)
    return calls


def rounded_weight(node: Node, constants: Mapping[str, Tensor]) -> Tensor:
    """Weights of few bits, as they are after rounding."""
    weight, bits = node.args
    result: Tensor = function_of(node.op)(constants[weight.name], bits)
    return result


def target_of(cell: IF, mean: Tensor, steps: Tensor | int) -> Tensor:
    """As `IF.target`."""
    scale = along_channels(steps / cell.v_threshold, mean).to(mean.dtype)
    start = v_init_over(cell.v_init, mean)
    return torch.clamp(torch.floor(mean * scale + start), cell.lowest, cell.levels)


def value_of(cell: IF, counts: Tensor, steps: Tensor | int) -> Tensor:
    """As `IF.value`."""
    return counts * along_channels(cell.v_threshold / steps, counts).to(counts.dtype)


class Spelled(nn.Module):
    """Base: the program run node by node, neurons left to the form.

    Args:
        network: converted, of neurons held as counts.
    """

    def __init__(self, network: SpikingNetwork) -> None:
        super().__init__()
        self.network = network
        self.calls = calls_of(network)

    def values_of(self, inputs: tuple[Tensor, ...]) -> Values:
        values: Values = dict(self.network.constants)
        values.update(zip(self.network.program.inputs, inputs, strict=True))
        return values

    def leaves(self, values: Values) -> list[Tensor]:
        """The tensors that a call returns, in the order of `output_refs`."""
        return [values[name] for name in output_order(self.network)]

    def run(
        self, inputs: tuple[Tensor, ...], fire: Callable[[Node, IF, Tensor], Tensor]
    ) -> list[Tensor]:
        values = self.values_of(inputs)
        for node in self.network.program.nodes:
            if not Neuron.found(node):
                values[node.name] = self.calls[node.name](values)
                continue
            cell = cell_of(node, values, self.network.config)
            assert isinstance(cell, IF)  # `exportable` has refused the others
            values[node.name] = fire(node, cell, values[Neuron.of(node).input.name])
        return self.leaves(values)


def output_order(network: SpikingNetwork) -> list[str]:
    """Names of the values that a call returns, each once, in order."""
    found: list[str] = []
    substitute(network.program.output, lambda ref: found.append(ref.name))
    return list(dict.fromkeys(found))


class OnePass(Spelled):
    """The whole network in one pass over counts: (inputs) -> (outputs, counts of every layer)."""

    def forward(self, *inputs: Tensor) -> tuple[Tensor, ...]:
        counts: list[Tensor] = []

        def fire(_node: Node, cell: IF, mean: Tensor) -> Tensor:
            counts.append(target_of(cell, mean, cell.levels))
            return value_of(cell, counts[-1], cell.levels)

        return (*self.run(inputs, fire), *counts)


@dataclass
class Step:
    """What the layers did in one step, by name; `left`: spikes each would fire in the next."""

    counts: dict[str, Tensor] = field(default_factory=dict)
    means: dict[str, Tensor] = field(default_factory=dict)
    cells: dict[str, IF] = field(default_factory=dict)
    left: list[Tensor] = field(default_factory=list)


class OneStep(Spelled):
    """One time step of immediate firing.

    (inputs, step, counts of every layer) -> (outputs, counts after the step, spikes that would be
    fired in the next step if the input stayed: 0 is silence). `step` counts from 1.
    """

    def forward(self, *inputs: Tensor) -> tuple[Tensor, ...]:
        outputs, step = self.step(inputs)
        return (*outputs, *step.counts.values(), torch.stack(step.left).sum())

    def step(self, inputs: tuple[Tensor, ...]) -> tuple[list[Tensor], Step]:
        """The outputs after a step, and what every layer did in it."""
        config, program = self.network.config, self.network.program
        given, step, held = (
            inputs[: len(program.inputs)],
            inputs[len(program.inputs)],
            dict(
                zip(self.network.executor.currents, inputs[len(program.inputs) + 1 :], strict=True)
            ),
        )
        seen = step.clamp(max=config.timesteps)
        done = Step()

        def fire(node: Node, cell: IF, mean: Tensor) -> Tensor:
            done.means[node.name], done.cells[node.name] = mean, cell
            steps = seen.to(cell.v_threshold.dtype)
            least = -1 if config.signed or cell.lowest < 0 else 0
            missing = target_of(cell, mean, steps) - held[node.name]
            waits = node.name in self.network.executor.waiting
            if waits:
                missing = torch.where(mean.isnan(), 0.0, missing)
            spikes = torch.clamp(missing, least, 1)
            counts = done.counts[node.name] = held[node.name] + spikes
            done.left.append(torch.clamp(missing - spikes, least, 1).abs().sum())
            value = value_of(cell, counts, steps)
            return torch.where(mean.isnan(), torch.nan, value) if waits else value

        return self.run(given, fire), done
