"""Rewrites that change no value: constants folded, hand-written activations recognised."""

from __future__ import annotations

import sys
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import torch
from torch import Tensor

from snnconvert.conversion.capture.captured import Captured
from snnconvert.conversion.execution.executor import Executor
from snnconvert.conversion.graph.nodes import Clip
from snnconvert.conversion.graph.program import Node, Program, Ref
from snnconvert.conversion.graph.values import substitute
from snnconvert.conversion.prepare.spellings import recognise_spellings
from snnconvert.conversion.rules import converts, rule_of
from snnconvert.conversion.rules.fires import FAKE_QUANTIZE, of_no_negative


def fold_constants(
    program: Program, constants: dict[str, Tensor]
) -> tuple[Program, dict[str, Tensor]]:
    """Compute once what depends on no input (quantised weights); drop what nobody reads."""
    varying = program.downstream_of(set(program.inputs))
    values = fixed_values(program, constants)
    nodes = tuple(n for n in program.nodes if n.name in varying)
    program = without_unread(replace(program, nodes=nodes))
    read = {name for node in program.nodes for name in node.refs} | program.output_names
    return program, {name: values[name] for name in values if name in read}


@torch.no_grad()
def fixed_values(program: Program, constants: dict[str, Tensor]) -> dict[str, Any]:
    """Values of everything that depends on no input, constants included."""
    varying = program.downstream_of(set(program.inputs))
    fixed = Program((), tuple(n for n in program.nodes if n.name not in varying), [])
    return Executor(fixed).start(constants, ())


def without_unread(program: Program) -> Program:
    """`program` without operations whose result reaches no output."""
    needed = set(program.output_names)
    kept = []
    for node in reversed(program.nodes):
        if node.name in needed:
            needed.update(node.refs)
            kept.append(node)
    return replace(program, nodes=tuple(reversed(kept)))


def absorb_relu(program: Program, constants: dict[str, Tensor]) -> Program:
    """A ReLU that only quantisers of positive values read is part of them."""
    relus = {node.name for node in program.nodes if node.op == "aten.relu.default"}
    nodes = [_behind(relus, node, constants) for node in program.nodes]
    program = replace(program, nodes=tuple(nodes))
    readers = program.readers()
    aliases: dict[str, Ref] = {}
    for node in program.nodes:
        read_by = readers.get(node.name, ())
        if (
            node.name in relus
            and read_by
            and node.name not in program.output_names
            and all(_clips_at_zero(reader, constants) for reader in read_by)
        ):
            aliases[node.name] = node.args[0]

    return rerouted(program, aliases)


def without_whole_slices(program: Program) -> Program:
    """`program` without slices that take everything, such as the first of `x[:, :, None]`."""
    aliases: dict[str, Ref] = {}
    for node in program.nodes:
        if takes_everything(node):
            source = node.args[0]
            aliases[node.name] = aliases.get(source.name, source)
    return rerouted(program, aliases)


def takes_everything(node: Node) -> bool:
    """Whether `node` is a slice from the first entry to the last."""
    if node.op != "aten.slice.Tensor" or node.kwargs:
        return False
    defaults = [0, None, None, 1]
    start, end, step = [*node.args[1:], *defaults[len(node.args) - 1 :]][1:]
    return start in (None, 0) and end in (None, sys.maxsize) and step == 1


def rerouted(program: Program, aliases: Mapping[str, Ref]) -> Program:
    """`program` without the nodes in `aliases`; their readers read what they stand for."""

    def source(ref: Ref) -> Ref:
        return aliases.get(ref.name, ref)

    nodes = [
        replace(
            node,
            args=tuple(substitute(arg, source) for arg in node.args),
            kwargs={key: substitute(value, source) for key, value in node.kwargs.items()},
        )
        for node in program.nodes
        if node.name not in aliases
    ]
    return replace(program, nodes=tuple(nodes), output=substitute(program.output, source))


def _behind(relus: set[str], node: Node, constants: dict[str, Tensor]) -> Node:
    """`node`; a quantiser that reads one of `relus` without its steps down (-128 ... 127)."""
    quantises = node.op.removeprefix("aten.") in FAKE_QUANTIZE
    if not quantises or not isinstance(node.args[0], Ref) or node.args[0].name not in relus:
        return node
    return of_no_negative(node, constants)


def _clips_at_zero(node: Node, constants: dict[str, Tensor]) -> bool:
    if Clip.found(node):
        return not Clip.of(node).signed
    rule = rule_of(node.op)
    found = rule.activation(node, constants) if rule is not None and rule.activation else None
    if found is None or found.ceiling is None:  # no quantiser
        return False
    return found.replaces and not found.signed


def prepared(captured: Captured, fold: bool = True) -> tuple[Program, dict[str, Tensor]]:
    """Program and constants after the rewrites that change no value.

    `fold`: compute once what depends on no input, unless an operation in it has no rule.
    """
    program, constants = captured.program, captured.constants
    if all(converts(node.op) for node in program.nodes):
        if fold:
            program, constants = fold_constants(program, constants)
        fixed = fixed_values(program, constants)
        program, constants = recognise_spellings(program, constants, fixed)
        if fold:  # what was recognised may have brought more of it
            program, constants = fold_constants(program, constants)
    program = without_whole_slices(without_unread(program))
    return absorb_relu(program, constants), constants
