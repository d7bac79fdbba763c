"""What the operations of a network have become so far, and what the next one may read of that."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import torch
from torch import Tensor

from snnconvert.conversion.graph.nodes import Neuron
from snnconvert.conversion.graph.program import Node, Ref
from snnconvert.conversion.rules import argument_at
from snnconvert.conversion.spiking.network import SpikingNetwork
from snnconvert.exchange.nir.shapes import per_channel
from snnconvert.exchange.nir.wiring import Current, Wiring

IGNORED = ("aten.dropout.default", "aten.detach.default", "aten.contiguous.default",
           "aten.clone.default", "aten.alias.default", "aten.feature_dropout.default")  # fmt: skip
THROUGH = ("aten.add.Tensor", "aten.avg_pool2d.default")  # a common factor passes


class Refused(Exception):
    """What NIR cannot express, in words."""


class Layers:
    """What the operations of a network have become so far.

    Args:
        shapes: of every value, one sample.
        facts: of the neurons, for their metadata.
    """

    def __init__(
        self, snn: SpikingNetwork, shapes: Mapping[str, tuple[int, ...]], facts: dict[str, Any]
    ) -> None:
        self.snn, self.shapes, self.facts = snn, shapes, facts
        self.constants, self.cells = snn.constants, snn.neurons
        self.readers = snn.program.readers()
        name = snn.program.inputs[0]
        dtypes = [v.dtype for v in self.constants.values() if v.is_floating_point()]
        self.wiring = Wiring(shapes[name], max(dtypes, key=lambda d: torch.finfo(d).bits))
        self.currents = {name: Current({"input": torch.ones(1)}, shapes[name])}
        self.biased: set[str] = set()  # neurons whose bias current is in a weight before them

    def current(self, value: Any) -> Current:
        if not isinstance(value, Ref) or value.name not in self.currents:
            raise Refused("an operand that is no current")
        return self.currents[value.name]

    def constant(self, value: Any) -> Tensor | None:
        """A number or a tensor that depends on nothing; None for a current."""
        if isinstance(value, Ref):
            return self.constants.get(value.name)
        return torch.tensor([float(value)])

    def fixed(self, value: Any, what: str) -> Tensor:
        """As `constant`, of what must be one."""
        found = self.constant(value)
        if found is None:
            raise Refused(f"{what} that is computed")
        return found

    def along_channels(self, value: Tensor, shape: tuple[int, ...]) -> Tensor:
        found = per_channel(value, shape)
        if found is None:
            raise Refused(f"a tensor of shape {list(value.shape)} that differs from place to place")
        return found

    def threshold(self, neuron: Node) -> Tensor:
        return self.of_neuron(neuron, self.cell(neuron).v_threshold)

    def cell(self, neuron: Node) -> Any:
        return self.cells[self.snn.names[neuron.name]]

    def of_neuron(self, neuron: Node, value: Tensor) -> Tensor:
        """[1] or [C]; thresholds of one axis lie along the channels."""
        return value if value.ndim == 1 else self.along_channels(value, self.shapes[neuron.name])

    def aim(self, node: Node) -> tuple[Tensor, Tensor]:
        """(threshold, bias current) of the neurons that alone read what `node` gives; else 1, 0."""
        neuron, pooled = self._reader(node)
        if neuron is None:
            return torch.ones(1), torch.zeros(1)
        bias = getattr(self.cell(neuron), "bias", None)
        if bias is None or pooled or neuron.name in self.biased:
            return self.threshold(neuron), torch.zeros(1)
        self.biased.add(neuron.name)
        return self.threshold(neuron), self.of_neuron(neuron, bias)

    def _reader(self, node: Node) -> tuple[Node | None, bool]:
        """The neurons behind sums and pools, and whether a pool lies between."""
        pooled = False
        while len(found := self.readers.get(node.name, [])) == 1:
            if node.name in self.snn.program.output_names:
                break
            reader = found[0]
            if reader.refs.count(node.name) > 1:  # y + y would count its bias twice
                break
            if Neuron.found(reader):
                return reader, pooled
            pooled |= reader.op == "aten.avg_pool2d.default"
            if reader.kwargs or reader.op not in (*THROUGH, *IGNORED):
                break
            node = reader
        return None, pooled

    def weighted(
        self, node: Node, weight: Tensor, make: Callable[[Tensor, Tensor], Any], sources: list[str]
    ) -> Current:
        """The node that `make` makes of `weight` and bias, both divided by what it aims at."""
        given = argument_at(node, 2)
        bias = torch.zeros(len(weight)) if given is None else self.fixed(given, "a bias")
        theta, current = self.aim(node)
        scaled = weight / theta.view(-1, *(1,) * (weight.ndim - 1))
        name = self.wiring.add(label_of(node), make(scaled, (bias + current) / theta), sources)
        return Current({name: theta}, self.shapes[node.name])


def label_of(node: Node) -> str:
    return node.layer or node.name
