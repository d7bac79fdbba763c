"""Whether a spiking program read from a file can run at all: its neurons, then all of it, once."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping
from typing import Any

from torch import Tensor

from snnconvert.conversion.execution.executor import Values, call_of
from snnconvert.conversion.execution.trial import try_program
from snnconvert.conversion.graph.nodes import Neuron
from snnconvert.conversion.graph.program import Node, Program, Ref
from snnconvert.conversion.spiking.config import SpikingConfig
from snnconvert.conversion.spiking.neuron_nodes import cell_of
from snnconvert.errors import CheckpointError


def check_neurons(program: Program, constants: Mapping[str, Tensor]) -> None:
    """CheckpointError unless every neuron node has arguments of the right kinds."""
    known = {*constants, *(node.name for node in program.nodes)}
    for node in program.nodes:
        if Neuron.found(node) and not sound(node, known, constants):
            raise CheckpointError(
                f"program: is damaged: the neurons {node.name!r} have the arguments {node.args}"
            )


def sound(node: Node, known: Collection[str], constants: Collection[str]) -> bool:
    """Whether the arguments of a neuron node are of the right kinds, and exist."""
    if not 4 <= len(node.args) <= 5 or node.kwargs:
        return False
    neuron = Neuron.of(node)
    right = [
        isinstance(neuron.input, Ref),
        isinstance(neuron.v_threshold, str) and neuron.v_threshold in known,
        isinstance(neuron.signed, bool),
        neuron.function is None or isinstance(neuron.function, str),
        len(node.args) == 4 or (isinstance(neuron.v_init, str) and neuron.v_init in constants),
    ]
    return all(right)


def verify(program: Program, constants: Mapping[str, Tensor], config: SpikingConfig) -> None:
    """Run a spiking network's program once without values.

    Raises:
        CheckpointError: it cannot run; says which operation, and why.
    """

    def call(node: Node) -> Callable[[Values], Any]:
        if not Neuron.found(node):
            return call_of(node)

        def fire(values: Values) -> Any:
            cell = cell_of(node, values, config)
            return cell.value(cell.final(values[Neuron.of(node).input.name]))

        return fire

    try_program(program, constants, call)
