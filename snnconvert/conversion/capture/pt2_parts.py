"""Operations of a file that have no rule, taken apart into operations that have one.

A captured module is taken apart as a whole (`decompose`); of a file there are only operations by
name. Each that PyTorch's tables know is exported by itself, for the shapes that it gets in two
batches, and its parts take its place where they give what it gives. It was looked up by its name
and its schema says that it writes nothing: no code of the file runs.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

import torch
from torch import Tensor, nn
from torch.export.graph_signature import InputKind

from snnconvert.common.shapes_alone import shapes_alone
from snnconvert.conversion.capture.decompose import (
    decomposed,
    decomposition,
    is_known,
    writes_or_views,
)
from snnconvert.conversion.capture.exported_graph import ExportedGraph
from snnconvert.conversion.execution.executor import call_of
from snnconvert.conversion.execution.trial import refuse_large
from snnconvert.conversion.graph.program import Node, Program, Ref
from snnconvert.conversion.graph.signature import BATCH, Signature
from snnconvert.conversion.graph.values import leaves, substitute
from snnconvert.conversion.rules.by_default import arguments_of, harmless, operator_named

BATCHES = (3, 5)  # that tell which sizes go with the batch
LONGEST = 512  # steps of a recurrent layer, each of which becomes operations of its own
LARGEST = 1 << 26  # numbers that one operation is tried on
RECURRENT = ("aten.lstm.", "aten.gru.", "aten.rnn_")
Values = dict[str, Any]


def without_unknown(program: Program, constants: Mapping[str, Tensor]) -> Program:
    """`program` with the parts of what has no rule, where they are known."""
    if not any(map(can_be_parted, program.nodes)):
        return program
    seen = [values_in(program, constants, rows) for rows in BATCHES]
    aliases: dict[str, Any] = {}
    made: dict[str, Any] = {}
    nodes: list[Node] = []

    def now(ref: Ref) -> Any:
        return aliases.get(ref.name, ref)

    for node in program.nodes:
        if node.op == "aten.getitem" and isinstance(aliases.get(node.args[0].name), list):
            aliases[node.name] = aliases[node.args[0].name][node.args[1]]
            continue
        found = _parts(node, program, seen, made) if can_be_parted(node) else None
        if found is not None:
            parts, results = found
            several = len(operator_named(node.op)._schema.returns) > 1
            aliases[node.name] = results if several else results[0]
        for part in [node] if found is None else parts:
            args = tuple(substitute(arg, now) for arg in part.args)
            kwargs = {key: substitute(value, now) for key, value in part.kwargs.items()}
            nodes.append(replace(part, args=args, kwargs=kwargs))
    return replace(program, nodes=tuple(nodes), output=substitute(program.output, now))


def can_be_parted(node: Node) -> bool:
    """Whether `node` has no rule, and PyTorch says what it is made of."""
    operator = None if is_known(node.op) else operator_named(node.op)
    if operator is None:
        return False
    if not is_evaluated(node) and not harmless(operator, node.op.split(".")[1]):
        return False
    return decomposition(operator) is not None or writes_or_views(operator)


def is_evaluated(node: Node) -> bool:
    """Whether `node` is a recurrent layer out of training, which draws nothing."""
    return node.op.startswith(RECURRENT) and arguments_of(node).get("train") is False


def called(node: Node, values: Values) -> Any:
    """What `node` gives for what it reads."""
    if not can_be_parted(node):
        return call_of(node)(values)
    args, kwargs = substitute((node.args, node.kwargs), lambda ref: values[ref.name])
    return operator_named(node.op)(*args, **kwargs)


def values_in(program: Program, constants: Mapping[str, Tensor], rows: int) -> Values:
    """What each name holds in a batch of so many rows, without values, as far as it can run."""
    signature = program.signature
    found: Values = {}
    with shapes_alone() as mode:
        found |= {name: mode.from_tensor(value) for name, value in constants.items()}
        try:
            if signature is not None:
                found |= inputs_of_batch(program.inputs, signature, rows)
            for node in program.nodes:
                found[node.name] = called(node, found)
                refuse_large(found[node.name])
        except Exception:  # whatever an operation raises; the trial of the file says it
            return found
    return found


def inputs_of_batch(names: Sequence[str], signature: Signature, rows: int) -> Values:
    """Inputs of so many rows."""
    found = {}
    for name in names:
        shape = [rows if size == BATCH else size for size in signature.shapes[name]]
        found[name] = torch.empty(shape, dtype=signature.dtypes[name])
        refuse_large(found[name])
    return found


class _Operation(nn.Module):
    """`node`, as a function of a list of what it reads."""

    def __init__(self, node: Node, names: Sequence[str], numbers: set[str]) -> None:
        super().__init__()
        self.node, self.names, self.numbers = node, names, numbers

    def forward(self, given: list[Tensor]) -> list[Tensor]:
        values = dict(zip(self.names, given, strict=True))
        read = {n: v.shape[0] if n in self.numbers else v for n, v in values.items()}
        return leaves(called(self.node, read))


def _parts(
    node: Node, program: Program, seen: Sequence[Values], made: dict[str, Any]
) -> tuple[list[Node], list[Any]] | None:
    """The operations that `node` is made of and what they return; None where that is not known.

    Args:
        made: exports so far, by all that they depend on.
    """
    names = list(dict.fromkeys(node.refs))
    if not names or not all(name in values for name in (*names, node.name) for values in seen):
        return None
    numbers = {name for name in names if not isinstance(seen[0][name], Tensor)}
    if any(type(seen[0][name]) is not int for name in numbers):
        return None
    small, large = (
        [torch.Size([v[n]]) if n in numbers else v[n].shape for n in names] for v in seen
    )
    held = leaves([seen[0][name] for name in (*names, node.name) if name not in numbers])
    too_long = node.op.startswith(RECURRENT) and max(small[0][:2]) > LONGEST
    if too_long or sum(value.numel() for value in held) > LARGEST:
        return None
    examples = [
        torch.zeros(shape) if name in numbers else example_of(seen[0][name])
        for name, shape in zip(names, small, strict=True)
    ]
    form = substitute((node.args, node.kwargs), lambda ref: f"input {names.index(ref.name)}")
    key = repr((node.op, form, small, large, [value.dtype for value in examples]))
    if key not in made:
        made[key] = _exported(_Operation(node, names, numbers), examples, small, large)
    found = made[key]
    return None if found is None else _spliced(node, program, found, names, numbers, small)


def _exported(
    operation: _Operation, examples: list[Tensor], small: Sequence[torch.Size],
    large: Sequence[torch.Size],
) -> torch.export.ExportedProgram | None:  # fmt: skip
    """One operation taken apart; None where that fails or gives something else."""
    dynamic = [
        {axis: torch.export.Dim.AUTO for axis, size in enumerate(shape) if size != other[axis]}
        for shape, other in zip(small, large, strict=True)
    ]
    try:
        with torch.no_grad():
            whole = torch.export.export(operation, (examples,), dynamic_shapes=(dynamic,))
            exported = decomposed(whole)
            wanted, found = operation(examples), leaves(exported.module()(examples))
            torch.testing.assert_close(found, wanted, equal_nan=True)
    except Exception:  # whatever a tracer raises on what it cannot take apart
        return None
    specs = exported.graph_signature.input_specs
    inputs_alone = all(spec.kind is InputKind.USER_INPUT for spec in specs)
    return exported if inputs_alone else None


def example_of(value: Tensor) -> Tensor:
    """A tensor of its shape and type with values that tell operations apart."""
    generator = torch.Generator().manual_seed(0)
    if value.is_floating_point():
        return torch.rand(value.shape, generator=generator).to(value.dtype)
    return torch.zeros(value.shape, dtype=value.dtype)


def _spliced(
    node: Node, program: Program, exported: torch.export.ExportedProgram, names: Sequence[str],
    numbers: set[str], shapes: Sequence[torch.Size],
) -> tuple[list[Node], list[Any]]:  # fmt: skip
    """The operations of an export with the names of the program that they become part of."""
    reader = ExportedGraph(exported.graph_module)
    given = [spec.arg.name for spec in exported.graph_signature.input_specs]
    stands: dict[str, Any] = {name: Ref(own) for name, own in zip(given, names, strict=True)}
    batch = [Ref(program.inputs[i]) for i in program.batch_inputs[:1]]

    def own(ref: Ref) -> Any:
        return stands.get(ref.name, ref)

    nodes = []
    for part in reader.nodes:
        if part.op == "aten.sym_size.int" and part.args[0].name in given:
            index, axis = given.index(part.args[0].name), part.args[1]
            if names[index] in numbers:
                stands[part.name] = Ref(names[index])
                continue
            if batch and shapes[index][axis] == BATCHES[0]:  # depends on no spike
                part = replace(part, args=(*batch, 0))
        args = tuple(substitute(arg, own) for arg in part.args)
        kwargs = {key: substitute(value, own) for key, value in part.kwargs.items()}
        name = f"{node.name}__{part.name}"
        nodes.append(replace(part, name=name, args=args, kwargs=kwargs, layer=node.layer))
        stands[part.name] = Ref(name)
    return nodes, [substitute(result, own) for result in reader.results]
