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

    It is where the shape first differs from that of `x`, or the first such size behind. A wrong
    guess is found out, and costs the freedom.
    """
    run = call.step.run
    own, batch = run.file_batch, run.batch
    if not run.frees or own is None or not call.is_constant(1) or not wanted:
        return wanted
    if -1 in wanted:
        if wanted[0] == own and call.is_batch(x.shape[0]):
            wanted[0] = x.shape[0]
        return wanted
    total, at = math.prod(wanted), 0
    if total % own or not alike(x.numel(), total // own * batch):
        return wanted
    while at < min(x.ndim, len(wanted)) - 1 and alike(x.shape[at], wanted[at]):
        at += 1
    at = next((i for i in range(at, len(wanted)) if wanted[i] == own), at)
    if wanted[at] % own == 0:
        wanted[at] = wanted[at] // own * batch
    return wanted


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
