"""Inputs to trace and to compare a network on, and how its counts grow with the batch."""

from __future__ import annotations

from collections.abc import Iterable
from itertools import islice
from typing import Any

import torch
from torch import Tensor

from snnconvert.conversion.graph.nodes import Lookup
from snnconvert.conversion.graph.program import Program
from snnconvert.conversion.graph.signature import BATCH, arguments_of
from snnconvert.conversion.spiking.network import SpikingNetwork
from snnconvert.errors import InputError

ROWS = 2  # of a batch that is traced
RANDOM_ROWS = (2, 3)  # of the batches that are compared where none are given
MOST_BATCHES = 4
TIMES = 1000.0  # of inputs that are one number a sample, unless a table says which


def open_batch(program: Program) -> bool:
    """Whether the batch may have any size."""
    return bool(program.batch_inputs) and program.largest_batch != 1


def random_inputs(network: SpikingNetwork, rows: int) -> list[Tensor]:
    """Inputs of one call: normal numbers, times within the range of the tables, small integers.

    Raises:
        InputError: a network that was captured without its shapes.
    """
    program, generator = network.program, torch.Generator().manual_seed(rows)
    signature = program.signature
    if signature is None or not set(program.inputs) <= set(signature.shapes):
        raise InputError("export: the shapes of the network's inputs are unknown; convert it again")
    low, high = time_range(program)
    found = []
    for name in program.inputs:
        shape = [rows if size == BATCH else size for size in signature.shapes[name]]
        dtype = signature.dtypes.get(name, torch.float32)
        if program.takes_one_number(name) and len(program.inputs) > 1:
            value = (low + (high - low) * torch.rand(shape, generator=generator)).floor()
        elif dtype.is_floating_point:
            value = torch.randn(shape, generator=generator)
        else:
            value = torch.randint(0, 2, shape, generator=generator)
        found.append(value.to(dtype))
    return found


def time_range(program: Program) -> tuple[float, float]:
    """Smallest and largest time that the tables of thresholds know."""
    lookups = [Lookup.of(node) for node in program.nodes if Lookup.found(node)]
    if not lookups:
        return 0.0, TIMES
    return max(lookup.low for lookup in lookups), min(lookup.high for lookup in lookups)


def example_inputs(network: SpikingNetwork, examples: Iterable[Any]) -> list[list[Tensor]]:
    """The first batches of `examples` as inputs of the program, or random ones.

    Raises:
        InputError: as the network itself.
    """
    given = list(islice(examples, MOST_BATCHES))
    if given:
        calls = [network.program.bind(*arguments_of(batch)) for batch in given]
        return [[value.cpu() for value in call] for call in calls]
    rows = RANDOM_ROWS if open_batch(network.program) else (ROWS,)
    most = network.program.largest_batch or max(rows)
    return [random_inputs(network, min(n, most)) for n in rows]


def traced_inputs(network: SpikingNetwork) -> list[Tensor]:
    """Inputs of the call that is traced."""
    return random_inputs(network, traced_rows(network))


def traced_rows(network: SpikingNetwork) -> int:
    signature = network.program.signature
    least = max(ROWS, signature.smallest_batch if signature else 0)
    most = network.program.largest_batch
    return least if most is None else min(least, most)


@torch.no_grad()
def state_shapes(network: SpikingNetwork) -> dict[str, tuple[int, ...]]:
    """Shape of each layer's counts; -k stands for k rows a sample.

    Raises:
        InputError: counts whose shape does not grow with the batch.
    """
    counting = network.with_config(firing="deferred", simulate="counts")
    rows = traced_rows(network)

    def shapes(n: int) -> dict[str, tuple[int, ...]]:
        args, kwargs = network.program.unbind(random_inputs(network, n))
        counts = counting.run(*args, **kwargs).counts
        return {
            node: tuple(counts[counting.names[node]].shape) for node in counting.executor.currents
        }

    few = shapes(rows)
    if not open_batch(network.program):
        return few
    many = shapes(rows + 1)
    return {name: grown(name, shape, many[name], rows) for name, shape in few.items()}


def grown(name: str, few: tuple[int, ...], many: tuple[int, ...], rows: int) -> tuple[int, ...]:
    """The rule behind two shapes, of `rows` samples and of one more."""
    found = []
    for a, b in zip(few, many, strict=True):
        each = b - a
        if each and a != each * rows:
            raise InputError(f"{name}: the shape of its counts, {few}, is no multiple of the batch")
        found.append(-each if each else a)
    return tuple(found)
