"""Whether a program read from a file can run at all: tried once, on tensors without values.

A damaged file would otherwise be found out only when it is called, by whatever error its first
wrong operation raises. PyTorch's fake tensors compute shapes and types; nothing of their size is
allocated and no arithmetic done.
"""

from __future__ import annotations

import itertools
from collections.abc import Collection, Iterator, Mapping, Sequence
from typing import Any

import torch
from torch import Tensor
from torch._subclasses.fake_tensor import (
    DataDependentOutputException,
    DynamicOutputShapeException,
    FakeTensorMode,
    UnsupportedOperatorException,
)

from snnconvert.conversion.execution.executor import call_of
from snnconvert.conversion.graph.nodes import Neuron
from snnconvert.conversion.graph.program import Node, Program, Ref
from snnconvert.conversion.graph.signature import BATCH, Signature
from snnconvert.conversion.graph.values import references
from snnconvert.conversion.spiking.config import SpikingConfig
from snnconvert.conversion.spiking.neuron_nodes import cell_of
from snnconvert.errors import CheckpointError

ROWS = 2  # of the batch that is tried
NEEDS_VALUES = (
    DataDependentOutputException, DynamicOutputShapeException, UnsupportedOperatorException,
)  # fmt: skip
DTYPES = (torch.float32, torch.int64)  # of inputs, where the file does not say


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
    signature = program.signature
    if signature is None or {r.name for r in references(signature.values)} != set(program.inputs):
        raise CheckpointError("program: is damaged: it does not say what its inputs are")
    failure: CheckpointError | None = None
    with FakeTensorMode() as mode, torch.no_grad():
        fixed = {name: mode.from_tensor(value) for name, value in constants.items()}
        for dtypes in input_types(program, signature):
            try:
                run(program, {**fixed, **trial_inputs(program, signature, dtypes)}, config)
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
    rows = min(ROWS, signature.largest_batch or ROWS)
    try:
        return {
            name: torch.empty([rows if n == BATCH else n for n in signature.shapes[name]],
                              dtype=dtype)
            for name, dtype in zip(program.inputs, dtypes, strict=True)
        }  # fmt: skip
    except (KeyError, TypeError, RuntimeError) as error:
        raise CheckpointError("program: is damaged: an input has no shape or type") from error


def run(program: Program, values: dict[str, Any], config: SpikingConfig) -> None:
    """Every operation in order, as far as that can be without values."""
    for node in program.nodes:
        try:
            if Neuron.found(node):
                cell = cell_of(node, values, config)
                values[node.name] = cell.value(cell.final(values[Neuron.of(node).input.name]))
            else:
                values[node.name] = call_of(node)(values)
        except NEEDS_VALUES:
            return
        except Exception as error:  # whatever an operation raises at arguments that are none
            reason = (str(error).strip() or type(error).__name__).splitlines()[0]
            raise CheckpointError(
                f"program: is damaged: its operation {node.name!r} ({node.op}) cannot run: {reason}"
            ) from error
