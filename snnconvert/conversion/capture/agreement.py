"""Holds a captured network against its module: an export follows one path through Python code.

Code that asks for the size of the batch, or that keeps state in Python, leaves no trace in the
graph; the captured network would be wrong without a word.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any

import torch
from torch import Tensor
from torch.utils import _pytree as pytree

from snnconvert.conversion.capture.examples import Examples
from snnconvert.conversion.execution.interpreter import Interpreter
from snnconvert.conversion.graph.program import Program
from snnconvert.conversion.graph.values import leaves
from snnconvert.conversion.rules import converts
from snnconvert.errors import InputError, UnsupportedOpError

TOLERANCE = 1e-3  # relative; the same operations differ by rounding at most


def agreeing(
    name: str, call: Callable[[dict[str, Any]], Any], program: Program,
    constants: dict[str, Tensor], examples: Examples,
) -> Program:  # fmt: skip
    """`program`, for the batches on which it computes what `call` does.

    Args:
        name: of the module, for messages.
        call: the module as a function of arguments by name, in evaluation mode.

    Raises:
        UnsupportedOpError: they differ on the example inputs.
        InputError: the module itself fails on them.
    """
    if not all(converts(node.op) for node in program.nodes):
        return program  # `check` names them
    if any(value.dtype in (torch.float16, torch.bfloat16) for value in constants.values()):
        return program  # and those
    interpreter = Interpreter(program)

    def gap(values: dict[str, Any], calls: int = 1) -> float:
        with torch.no_grad():
            try:
                wanted = [leaves(call(pytree.tree_map(copied, values))) for _ in range(calls)]
            except Exception as error:
                if values is examples.values:
                    raise InputError(fails(name, error)) from error
                return 0.0  # user code may refuse a batch of one in any way
            inputs = program.bind((), pytree.tree_map(copied, values))
            found = leaves(interpreter.run(constants, inputs))
            return max(relative_gap(found, each) for each in wanted)

    found = gap(examples.values, calls=2)  # state may show in the second call only
    if found > TOLERANCE:
        cause = (
            "it treats a batch of one in a way of its own: give example_inputs with two rows or "
            "more, or remove the branch"
            if examples.batch == 1
            else "its Python code keeps state from call to call, or draws random numbers: move "
            "that out of forward"
        )
        raise UnsupportedOpError(
            f"{name}: what torch.export captured gives something else on the example inputs than "
            f"the module itself (relative difference {found:.2g}); {cause}"
        )
    signature = program.signature
    if signature is None or examples.batch == 1 or not program.batch_inputs:
        return program
    if (
        signature.smallest_batch < 2
        and gap(pytree.tree_map(examples.row, examples.values)) > TOLERANCE
    ):
        return replace(program, signature=replace(signature, smallest_batch=2))
    return program


def fails(name: str, error: Exception) -> str:
    """Why a module that raises on its own example inputs cannot be captured."""
    first = str(error).strip().splitlines()[:1] or [type(error).__name__]
    remedy = (
        "give it and its inputs one precision, e.g. model.float() and x.float()"
        if "dtype" in first[0] or "Double" in first[0]
        else "give example_inputs that it takes"
    )
    return f"example_inputs: {name} itself fails on them ({first[0]}); {remedy}"


def copied(leaf: Any) -> Any:
    """A tensor that user code may write into."""
    return leaf.clone() if isinstance(leaf, Tensor) else leaf


def relative_gap(found: Sequence[Tensor], wanted: Sequence[Tensor]) -> float:
    """Distance over size, the largest of all outputs; 0 where values are not finite."""
    largest = 0.0
    for a, b in zip(found, wanted, strict=True):
        if a.shape != b.shape:
            return float("inf")
        difference, size = (a.double() - b.double()).norm(), b.double().norm()
        if bool(difference.isfinite()) and difference > 0:
            largest = max(largest, float(difference / size.clamp_min(1e-12)))
    return largest
