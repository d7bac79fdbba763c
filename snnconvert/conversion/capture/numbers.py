"""Numbers of Python that a module reads out of its own constants, such as `alpha.item()`."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import torch
from torch import Tensor

from snnconvert.conversion.capture.usual_form import READ_OUT
from snnconvert.conversion.execution.executor import Executor
from snnconvert.conversion.graph.program import Program, Ref
from snnconvert.conversion.graph.values import substitute
from snnconvert.conversion.rules import converts, function_of, rule_of


def with_numbers(program: Program, constants: Mapping[str, Tensor]) -> Program:
    """`program` with what it reads out of constants alone as the numbers that those hold.

    They are as they are now: what is read out of a parameter learns no more, as in the module.
    """
    while numbers := read_out(program, constants) | worked_out(program):

        def read(ref: Ref, numbers: Mapping[str, Any] = numbers) -> Any:
            return numbers.get(ref.name, ref)

        nodes = [
            replace(
                node,
                args=tuple(substitute(value, read) for value in node.args),
                kwargs={key: substitute(value, read) for key, value in node.kwargs.items()},
            )
            for node in program.nodes
            if node.name not in numbers
        ]
        program = replace(program, nodes=tuple(nodes), output=substitute(program.output, read))
    return program


@torch.no_grad()
def read_out(program: Program, constants: Mapping[str, Tensor]) -> dict[str, Any]:
    """Numbers read out of what depends on no input and on no other number."""
    varying = program.downstream_of(set(program.inputs))
    found = {
        node.name: node.args[0].name
        for node in program.nodes
        if node.op in READ_OUT and node.name not in varying
    }
    found = {n: of for n, of in found.items() if program.upstream_of({of}).isdisjoint(found)}
    needed = program.upstream_of(set(found.values()))
    inner = [node for node in program.nodes if node.name in needed]
    if not found or not all(converts(node.op) for node in inner):
        return {}
    values = Executor(Program((), tuple(inner), [])).start(dict(constants), ())
    return {name: values[of].item() for name, of in found.items()}


def worked_out(program: Program) -> dict[str, Any]:
    """Results of arithmetic on numbers that are known."""
    rules = [(node, rule_of(node.op)) for node in program.nodes if not node.refs]
    return {
        node.name: function_of(node.op)(*node.args, **node.kwargs)
        for node, rule in rules
        if rule is not None and rule.number
    }
