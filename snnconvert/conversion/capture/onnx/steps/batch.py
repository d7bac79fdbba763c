"""Shapes that hold the file's own batch, read for any batch.

A guess, which the reader checks row by row against onnxruntime before it is used.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

from torch import Tensor

from snnconvert.conversion.capture.onnx.steps.call import SYMBOLIC, Call


def freed(call: Call, x: Tensor, wanted: list[Any]) -> list[Any]:
    """A shape that holds the file's own batch, for the batch of this call.

    Which of its sizes holds the batch is a choice among candidates, the likeliest first.
    """
    run = call.step.run
    own, batch = run.file_batch, run.batch
    if not run.frees or own is None or not wanted or any(isinstance(s, SYMBOLIC) for s in wanted):
        return wanted
    if -1 not in wanted:
        total = math.prod(wanted)
        if total % own or not alike(x.numel(), total // own * batch):
            return wanted
    name = call.node.name
    if name not in run.places:
        places = candidates(call, x, wanted, own)
        run.asked[name] = len(places)
        run.places[name] = places[run.choices.get(name, 0)] if places else -1
    at = run.places[name]
    if at >= 0 and wanted[at] != -1:
        wanted[at] = wanted[at] // own * batch
    return wanted


def candidates(call: Call, x: Tensor, wanted: list[Any], own: int) -> list[int]:
    """Places in `wanted` that may hold the batch, where it first differs from `x` first."""
    at = 0
    while at < min(x.ndim, len(wanted)) - 1 and alike(x.shape[at], wanted[at]):
        at += 1
    if -1 in wanted:
        at = 0 if wanted[0] == own and call.is_batch(x.shape[0]) else wanted.index(-1)
    else:
        at = next((i for i in range(at, len(wanted)) if wanted[i] == own), at)
    order = [at, *(i for i in range(len(wanted)) if i != at)]
    return [i for i in order if wanted[i] == -1 or wanted[i] % own == 0]


def alike(a: Any, b: Any) -> bool:
    """Whether two sizes are the same, without fixing one that may vary."""
    if isinstance(a, SYMBOLIC) or isinstance(b, SYMBOLIC):
        return str(a) == str(b)
    return bool(a == b)


def repeated(call: Call, tensors: Sequence[Tensor]) -> list[Tensor]:
    """What the file repeats for its own batch (a class token), for the batch of this call."""
    if not call.step.run.frees or not any(call.is_batch(x.shape[0]) for x in tensors):
        return list(tensors)
    batch = call.step.run.batch
    return [x.expand([batch, *x.shape[1:]]) if is_one(x.shape[0]) else x for x in tensors]


def is_one(size: Any) -> bool:
    return not isinstance(size, SYMBOLIC) and size == 1
