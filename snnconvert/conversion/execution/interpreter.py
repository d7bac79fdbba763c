"""Runs a program once, as the plain network it is, and lets a visitor see and change values."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from torch import Tensor

from snnconvert.conversion.execution.executor import Values, call_of
from snnconvert.conversion.graph.program import Node, Program
from snnconvert.conversion.graph.values import substitute

Visitor = Callable[[Node, Any], Any]


class Interpreter:
    """Executes all nodes in order and drops each value after its last reader.

    Args:
        program: without neurons.
        calls: by node name, functions of all values to execute instead of the operation.
    """

    def __init__(
        self, program: Program, calls: Mapping[str, Callable[[Values], Any]] | None = None
    ) -> None:
        self.program = program
        last: dict[str, int] = {}
        for position, node in enumerate(program.nodes):
            last[node.name] = position
            last.update(dict.fromkeys(node.refs, position))
        for name in program.output_names:
            last.pop(name, None)
        ends: dict[int, list[str]] = {}
        for name, position in last.items():
            ends.setdefault(position, []).append(name)
        own = calls or {}
        self.steps = [
            (node, own.get(node.name) or call_of(node), ends.get(i, []))
            for i, node in enumerate(program.nodes)
        ]

    def run(
        self,
        constants: Mapping[str, Tensor],
        inputs: Sequence[Tensor],
        visit: Visitor | None = None,
    ) -> Any:
        """The output of one call.

        Args:
            visit: called with each node and its value; returns the value to go on with.
        """
        values: dict[str, Any] = dict(constants)
        values.update(zip(self.program.inputs, inputs, strict=True))
        for node, call, ended in self.steps:
            value = call(values)
            values[node.name] = value if visit is None else visit(node, value)
            for name in ended:
                del values[name]
        return substitute(self.program.output, lambda ref: values[ref.name])
