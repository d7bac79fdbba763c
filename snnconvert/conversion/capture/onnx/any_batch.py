"""Frees a network from the batch that its file fixes, where that matters to no row."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from snnconvert.common.shapes_alone import shapes_alone
from snnconvert.conversion.capture.onnx.inputs import Wanted, free_size
from snnconvert.conversion.capture.onnx.network import FAILURES, OnnxNetwork
from snnconvert.conversion.capture.onnx.parity import TOLERANCE, Runtime, gap, outputs_of
from snnconvert.errors import SnnconvertError

TRIES = 100  # of other choices
MANY = 1009  # rows for which shapes are chosen: a size that no network has of its own


def free_batch(
    network: OnnxNetwork, runtime: Runtime, wanted: Sequence[Wanted], examples: list[Tensor]
) -> list[Tensor]:
    """Examples of another batch than the file's, where it does not matter to any row.

    A file for batches of `b` is tried on more rows: the first `b` and the last `b` must give what
    onnxruntime gives for them. Where they do not, `network` takes batches of `b` alone.
    """
    sizes = wanted[0].shape
    if not sizes or isinstance(sizes[0], str):
        return examples
    batch, run = sizes[0], network.run
    rows = [bool(item.shape) and item.shape[0] == batch for item in wanted]
    size = free_size(wanted, batch + 1)
    more = [
        torch.cat([value, *[value[:1].flip(-1)] * (size - batch)]) if moves else value
        for value, moves in zip(examples, rows, strict=True)
    ]
    run.frees, run.file_batch = True, batch
    try:
        many = [
            torch.cat([v[:1]] * MANY) if moves else v for v, moves in zip(more, rows, strict=True)
        ]
        if chosen(network, many) and is_row_by_row(network, runtime, more, rows, batch):
            return more
    except (*FAILURES, SnnconvertError):
        pass  # one of them, or onnxruntime, cannot compute it
    run.frees = False
    network.fixed_batch = batch
    return examples


def tied(network: OnnxNetwork, examples: Sequence[Any]) -> tuple[Any, ...]:
    """The part of `examples` that is the file's own batch, which `network` has from here on."""
    run, size = network.run, len(examples[0])
    run.frees, network.fixed_batch = False, run.file_batch
    return tuple(
        value[: run.file_batch] if isinstance(value, Tensor) and value.ndim and len(value) == size
        else value
        for value in examples
    )  # fmt: skip


def chosen(network: OnnxNetwork, inputs: Sequence[Tensor]) -> bool:
    """Whether there are choices for all shapes with which the network can be computed.

    Where one leads to sizes that do not fit, the last choice before is changed.
    """
    run = network.run
    for _ in range(TRIES):
        run.asked, run.places = {}, {}
        try:
            with shapes_alone(mixed=True) as mode:
                network(*(mode.from_tensor(value) for value in inputs))
            return True
        except FAILURES:
            left = [name for name, count in run.asked.items() if count]
            while left and run.choices.get(left[-1], 0) + 1 >= run.asked[left[-1]]:
                run.choices.pop(left.pop(), None)
            if not left:
                return False
            run.choices[left[-1]] = run.choices.get(left[-1], 0) + 1
    return False


def is_row_by_row(
    network: OnnxNetwork, runtime: Runtime, inputs: Sequence[Tensor], rows: Sequence[bool],
    batch: int,
) -> bool:  # fmt: skip
    """Whether the first and the last `batch` rows give what onnxruntime gives for them alone."""
    found = outputs_of(network, inputs)
    size = next(len(v) for v, moves in zip(inputs, rows, strict=True) if moves)
    for part in (slice(0, batch), slice(size - batch, size)):
        given = [v[part] if moves else v for v, moves in zip(inputs, rows, strict=True)]
        of_rows = [v[part] if v.ndim and len(v) == size else v for v in found]
        if gap(of_rows, runtime(given)) > TOLERANCE:
            return False
    return True
