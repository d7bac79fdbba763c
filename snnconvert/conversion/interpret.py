"""Runs a program once, as the plain network it is, and lets a visitor see and change values."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from torch import Tensor

from snnconvert.conversion.executor import call_of
from snnconvert.conversion.program import Node, Program, substitute

Visitor = Callable[[Node, Any], Any]


class Interpreter:
    """Executes all nodes in order and drops each value after its last reader.

    Args:
        program: without neurons.
    """

    def __init__(self, program: Program) -> None:
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
        self.steps = [(n, call_of(n), ends.get(i, [])) for i, n in enumerate(program.nodes)]

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
