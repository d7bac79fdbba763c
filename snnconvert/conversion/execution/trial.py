"""Whether a program read from a file can run at all: tried once, on tensors without values.

A damaged file would otherwise be found out only when it is called, by whatever error its first
wrong operation raises. PyTorch's fake tensors compute shapes and types; nothing of their size is
allocated and no arithmetic done.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

import torch
from torch import Tensor
from torch._subclasses.fake_tensor import (
    DataDependentOutputException,
    DynamicOutputShapeException,
    UnsupportedOperatorException,
)

from snnconvert.common.shapes_alone import shapes_alone
from snnconvert.conversion.execution.executor import Values, call_of
from snnconvert.conversion.graph.program import Node, Program, Ref
from snnconvert.conversion.graph.signature import BATCH, Signature
from snnconvert.conversion.graph.values import leaves, references
from snnconvert.conversion.rules import is_number, rule_of
from snnconvert.conversion.rules.by_default import arguments_of
from snnconvert.errors import CheckpointError

ROWS = 2  # of the batch that is tried
LARGEST_VALUE = 1 << 32  # bytes of a value of that batch, whatever else the program may do
NEEDS_VALUES = (
    DataDependentOutputException, DynamicOutputShapeException, UnsupportedOperatorException,
)  # fmt: skip
DTYPES = (torch.float32, torch.int64)  # of inputs, where the file does not say
CallOf = Callable[[Node], Callable[[Values], Any]]


def try_program(program: Program, constants: Mapping[str, Tensor], call: CallOf = call_of) -> None:
    """Run a program that comes from a file once without values.

    Args:
        call: of each node, the function of all values so far that it stands for.

    Raises:
        CheckpointError: it cannot run; says which operation, and why.
    """
    signature = program.signature
    if signature is None or {r.name for r in references(signature.values)} != set(program.inputs):
        raise CheckpointError("program: is damaged: it does not say what its inputs are")
    failure: CheckpointError | None = None
    with shapes_alone() as mode:
        fixed = {name: mode.from_tensor(value) for name, value in constants.items()}
        for dtypes in input_types(program, signature):
            try:
                run(program, {**fixed, **trial_inputs(program, signature, dtypes)}, call)
                return
            except CheckpointError as error:
                failure = failure or error
    if failure is not None:
        raise failure


def input_types(program: Program, signature: Signature) -> Iterator[tuple[torch.dtype, ...]]:
    """Types of all inputs: those that the file names, else whatever they may have been."""
    known = [signature.dtypes.get(name) for name in program.inputs]
    return itertools.product(*[DTYPES if dtype is None else (dtype,) for dtype in known])


def trial_inputs(
    program: Program, signature: Signature, dtypes: Sequence[torch.dtype]
) -> dict[str, Tensor]:
    """Inputs of a small batch. CheckpointError where a shape or type is none."""
    rows = min(max(ROWS, signature.smallest_batch), signature.largest_batch or ROWS)
    made = {}
    try:
        for name, dtype in zip(program.inputs, dtypes, strict=True):
            shape = [rows if size == BATCH else size for size in signature.shapes[name]]
            made[name] = torch.empty(shape, dtype=dtype)
            refuse_large(made[name])
    except (KeyError, TypeError, RuntimeError, OverflowError) as error:
        raise CheckpointError("program: is damaged: an input has no shape or type") from error
    return made


def run(program: Program, values: Values, call: CallOf) -> None:
    """Every operation in order, as far as that can be without values.

    Behind it, arithmetic on what is known is tried still: it needs no tensors to take long.
    """
    halted = False
    for node in program.nodes:
        if halted and not (is_number(node) and all(name in values for name in node.refs)):
            continue
        try:
            refuse_mixed(node, values)
            refuse_empty(node, values)
            values[node.name] = call(node)(values)
            refuse_large(values[node.name])
        except NEEDS_VALUES:
            halted = True
        except Exception as error:  # whatever an operation raises at arguments that are none
            reason = (str(error).strip() or type(error).__name__).splitlines()[0]
            raise CheckpointError(
                f"program: is damaged: its operation {node.name!r} ({node.op}) cannot run: {reason}"
            ) from error


def refuse_mixed(node: Node, values: Values) -> None:
    """RuntimeError for weights of another type than their input, which not all fake tensors see."""
    rule = rule_of(node.op)
    if rule is None or rule.weight is None or rule.macs is None:
        return
    operands = leaves([values[name] for name in node.refs])
    types = {str(operand.dtype) for operand in operands if operand.is_floating_point()}
    if len(types) > 1:
        raise RuntimeError(f"its operands are of several types: {', '.join(sorted(types))}")


def refuse_empty(node: Node, values: Values) -> None:
    """RuntimeError for convolutions that tensors without values let pass, alone of all operations.

    Their weights or the distance between these are zero.
    """
    if "conv" not in node.short_name:
        return
    given = arguments_of(node)
    weight, dilation = given.get("weight"), given.get("dilation", 1)
    if isinstance(weight, Ref) and 0 in getattr(values[weight.name], "shape", ()):
        raise RuntimeError(f"its weights {list(values[weight.name].shape)} are empty")
    if 0 in (dilation if isinstance(dilation, list | tuple) else [dilation]):
        raise RuntimeError("its dilation is 0")


def refuse_large(value: Any) -> None:
    """RuntimeError for a result that hardly any computer holds."""
    for tensor in leaves(value):
        if tensor.numel() * tensor.element_size() > LARGEST_VALUE:
            raise RuntimeError(f"its result {list(tensor.shape)} takes more than 4 GiB")


def known_part(program: Program) -> Program:
    """The operations before the first that the table does not convert."""
    nodes = itertools.takewhile(lambda node: known(node.op), program.nodes)
    return Program(program.inputs, tuple(nodes), None, program.signature)


def known(op: str) -> bool:
    rule = rule_of(op)
    return rule is not None and rule.converts
