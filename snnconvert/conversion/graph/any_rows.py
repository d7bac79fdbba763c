"""Calls of any number of rows to a network that takes batches of one size alone.

Its rows go in calls of that size, the last one filled up with rows that are there already, and
what belongs to these is cut off again. That is right only where no row depends on another.
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


def in_calls(
    program: Program, args: Sequence[Any], kwargs: Mapping[str, Any]
) -> tuple[int, list[Call]]:
    """Rows of a call, and the calls that it becomes; none where it can go as it is.

    Raises:
        InputError: other inputs than the captured ones, but for their number.
    """
    if program.fixed_batch is None:
        return 0, []
    inputs = program.bind(args, kwargs, any_batch=True)
    rows = program.batch_size(inputs)
    if rows in (0, program.fixed_batch):
        return rows, []
    return rows, [program.unbind(call) for call in filled(program, inputs)]


def joined(outputs: Sequence[Any], rows: int) -> Any:
    """The outputs of several calls as one, without what filled the last of them up."""
    flat, spec = zip(*map(pytree.tree_flatten, outputs), strict=True)
    whole = [torch.cat(parts)[:rows] for parts in zip(*flat, strict=True)]
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
