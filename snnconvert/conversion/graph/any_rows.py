"""Calls that a network takes only in parts.

A network of batches of one size alone gets its rows in calls of that size, the last one filled up
with rows that are there already, and what belongs to these is cut off again. That is right only
where no row depends on another. A network that takes one number for all samples (a time) gets a
call for each run of samples that have the same.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

import torch
from torch import Tensor
from torch.utils import _pytree as pytree

from snnconvert.conversion.graph.program import Program
from snnconvert.conversion.graph.values import leaves

OTHERS = (0.5, 0.0)  # factors for the rows that a first one may not depend on

Call = tuple[tuple[Any, ...], dict[str, Any]]  # positional and keyword arguments


def filled(program: Program, inputs: Sequence[Tensor]) -> Iterator[list[Tensor]]:
    """Inputs of exactly as many rows a call as the network takes."""
    size, along = program.fixed_batch, program.fixed_inputs
    rows = program.batch_size(inputs)
    if size is None or rows in (0, size):
        yield list(inputs)
        return
    for some in (torch.arange(-(-rows // size) * size) % rows).split(size):
        yield [v[some.to(v.device)] if i in along else v for i, v in enumerate(inputs)]


def singles(program: Program) -> dict[str, tuple[int, ...]]:
    """Shapes of the inputs that are one number for all samples."""
    signature, fixed = program.signature, program.fixed_batch is not None
    shapes = signature.shapes if signature else {}
    return {
        name: shape for name, shape in shapes.items()
        if signature and signature.single(name) and not (fixed and shape)  # [1] may be a batch
    }  # fmt: skip


def alike(program: Program, inputs: Sequence[Tensor]) -> list[list[Tensor]]:
    """Inputs in which every sample has the number that the network takes for all of them."""
    single = singles(program)
    names = program.inputs
    each = [i for i, n in enumerate(names) if n in single and inputs[i].shape != single[n]]
    if not each:
        return [list(inputs)]
    rows = len(inputs[each[0]])
    numbers = torch.stack([inputs[i].double() for i in each], 1)
    _, sizes = torch.unique_consecutive(numbers, dim=0, return_counts=True)
    along = {*program.batch_inputs, *program.fixed_inputs}

    def part(i: int, value: Tensor, some: Tensor) -> Tensor:
        if i in each:
            return value[some[0]].reshape(single[names[i]])
        return value[some.to(value.device)] if i in along else value

    return [
        [part(i, value, some) for i, value in enumerate(inputs)]
        for some in torch.arange(rows).split(sizes.tolist())
    ]


def in_calls(
    program: Program, args: Sequence[Any], kwargs: Mapping[str, Any]
) -> list[tuple[Call, int]]:
    """The calls that one becomes, and how many rows of each count; none where it can go as it is.

    Raises:
        InputError: other inputs than the captured ones, but for their number.
    """
    if program.fixed_batch is None and not singles(program):
        return []
    inputs = program.bind(args, kwargs, any_batch=True)
    if program.batch_size(inputs) == 0:
        return []
    parts = []
    for some in alike(program, inputs):
        left = program.batch_size(some)
        for call in filled(program, some):
            size = program.batch_size(call)
            parts.append((program.unbind(call), min(size, left)))
            left -= size
    return parts if len(parts) > 1 or left < 0 else []


def joined(outputs: Sequence[Any], rows: Sequence[int]) -> Any:
    """The outputs of several calls as one, of each its first rows."""
    flat, spec = zip(*map(pytree.tree_flatten, outputs), strict=True)
    whole = [
        torch.cat([part[:count] for part, count in zip(parts, rows, strict=True)])
        for parts in zip(*flat, strict=True)
    ]
    return pytree.tree_unflatten(whole, spec[0])


@torch.no_grad()
def rows_stand_alone(program: Program, network: Callable[..., Any], call: Call) -> bool:
    """Whether `network` gives each row what depends on no other row; seen on one call."""
    inputs = program.bind(*call)
    wanted = leaves(network(*call[0], **call[1]))
    if any(value.ndim == 0 or len(value) != program.fixed_batch for value in wanted):
        return False
    for factor in OTHERS:
        other = [value.clone() for value in inputs]
        for index in program.fixed_inputs:
            if other[index].is_floating_point():
                other[index][1:] *= factor
        args, kwargs = program.unbind(other)
        found = leaves(network(*args, **kwargs))
        if not all(torch.equal(a[0], b[0]) for a, b in zip(found, wanted, strict=True)):
            return False
    return True
