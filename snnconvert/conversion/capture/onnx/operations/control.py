"""Branches and loops whose course is known when the network is captured."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from torch import Tensor

from snnconvert.conversion.capture.onnx.steps.call import SYMBOLIC, Call, Value, flat, tensor_of
from snnconvert.conversion.capture.onnx.steps.registry import operation

LONGEST = 2048  # rounds of a loop


def is_true(array: np.ndarray) -> bool:
    return bool(flat(array)[0])


@operation("If")
def branch(call: Call) -> Any:
    name = "then_branch" if is_true(call.host(0)) else "else_branch"
    return tuple(call.block(name)())


@operation("Loop")
def loop(call: Call) -> Any:
    """Unrolled; what it carries, then what every round gives, stacked."""
    limit: Any = call.ints(0)[0] if call.has(0) else LONGEST + 1
    going = is_true(call.host(1)) if call.has(1) else True
    if isinstance(limit, SYMBOLIC):
        call.refuse("its number of rounds is not fixed", "export the network with fixed shapes")
    carried: list[Value] = [call.value(index) for index in range(2, call.node.given)]
    rows: list[Any] = []
    body, at = call.block("body"), 0
    while going and at < limit:
        if at >= LONGEST:
            call.refuse(f"takes more than {LONGEST} rounds", "replace it before export")
        condition, *found = body(np.array(at), np.array(True), *carried)
        if not isinstance(condition, np.ndarray):
            call.depends(1)
        going, carried = is_true(condition), found[: len(carried)]
        rows.append(found[len(carried) :])
        at += 1
    return (*carried, *(torch.stack([as_tensor(v) for v in e]) for e in zip(*rows, strict=True)))


def as_tensor(value: Value) -> Tensor:
    return value if isinstance(value, Tensor) else tensor_of(value)


@operation("Scan")
def scan(call: Call) -> Any:
    """Unrolled over axis 0 of what it scans, or the axes and directions that it names."""
    count = call.attribute("num_scan_inputs")
    first = 0 if call.opset >= 9 else 1  # once there was a batch, and lengths
    carried: list[Value] = [call.value(i) for i in range(first, call.node.given - count)]
    scanned = [call.tensor(i) for i in range(call.node.given - count, call.node.given)]
    if not first:
        axes = call.attribute("scan_input_axes") or [0] * count
        back = call.attribute("scan_input_directions") or [0] * count
        return _scan(call, carried, scanned, axes, back)
    lanes = [
        _scan(call, [as_tensor(v)[b] for v in carried], [x[b] for x in scanned], [0] * count,
              [0] * count)
        for b in range(scanned[0].shape[0])
    ]  # fmt: skip
    return tuple(torch.stack([as_tensor(v) for v in each]) for each in zip(*lanes, strict=True))


def _scan(call: Call, carried: list[Value], scanned: list[Tensor], axes: Any, back: Any) -> Any:
    length = scanned[0].shape[axes[0]]
    if isinstance(length, SYMBOLIC) or length > LONGEST:
        call.refuse("its length is not fixed", "export the network with fixed shapes")
    rows: list[Any] = []
    body = call.block("body")
    for at in range(length):
        places = [length - 1 - at if turned else at for turned in back]
        parts = [
            x.select(axis, place) for x, axis, place in zip(scanned, axes, places, strict=True)
        ]
        found = body(*carried, *parts)
        carried = list(found[: len(carried)])
        rows.append(found[len(carried) :])
    columns = list(zip(*rows, strict=True))
    out = call.attribute("scan_output_axes") or [0] * len(columns)
    turned = call.attribute("scan_output_directions") or [0] * len(columns)
    stacked = [
        torch.stack([as_tensor(v) for v in (reversed(column) if flip else column)], axis)
        for column, axis, flip in zip(columns, out, turned, strict=True)
    ]
    return (*carried, *stacked)


@operation("SequenceConstruct")
def sequence(call: Call) -> Any:
    """Sequences are lists while the network is captured; none is left in the graph."""
    return ([call.value(index) for index in range(call.node.given)],)


@operation("SequenceEmpty")
def empty_sequence(call: Call) -> Any:
    return ([],)


@operation("SequenceInsert")
def insert(call: Call) -> Any:
    items: Any = list(call.value(0))
    at = call.ints(2)[0] if call.has(2) else len(items)
    items.insert(at + len(items) if at < 0 else at, call.value(1))
    return (items,)


@operation("SequenceErase")
def erase(call: Call) -> Any:
    items: Any = list(call.value(0))
    del items[call.ints(1)[0] if call.has(1) else -1]
    return (items,)


@operation("SequenceAt")
def item_at(call: Call) -> Value:
    return call.value(0)[call.ints(1)[0]]


@operation("SequenceLength")
def length_of(call: Call) -> Value:
    return np.array(len(call.value(0)))


@operation("SplitToSequence")
def split_to_sequence(call: Call) -> Any:
    x, axis = call.tensor(0), call.attribute("axis", 0)
    if not call.has(1):
        parts = [part if call.attribute("keepdims", 1) else part.squeeze(axis)
                 for part in x.split(1, axis)]  # fmt: skip
        return (parts,)
    sizes: Any = call.ints(1)
    return (list(x.split(sizes if call.host(1).ndim else sizes[0], axis)),)


@operation("ConcatFromSequence")
def concat_sequence(call: Call) -> Tensor:
    items = [as_tensor(item) for item in call.value(0)]
    axis = call.attribute("axis")
    return torch.stack(items, axis) if call.attribute("new_axis", 0) else torch.cat(items, axis)
