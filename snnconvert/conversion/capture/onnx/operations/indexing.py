"""Reading and writing at places that are given by numbers."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from snnconvert.conversion.capture.onnx.steps.call import SYMBOLIC, Call, Value
from snnconvert.conversion.capture.onnx.steps.registry import operation


def gather_host(call: Call) -> Value:
    return np.take(call.host(0), call.host(1).astype(np.int64), call.attribute("axis", 0))


@operation("Gather", host=gather_host)
def gather(call: Call) -> Tensor:
    axis, index = call.attribute("axis", 0), call.value(1)
    if call.is_constant(0) and isinstance(index, Tensor):
        table = call.tensor(0, "weight", trainable=True)
        if table.ndim == 2 and axis == 0 and table.is_floating_point():
            return F.embedding(from_front(index, table.shape[0]), table)
    x = call.tensor(0)
    axis = axis + x.ndim if axis < 0 else axis
    if isinstance(index, np.ndarray) and index.size == 1 and not index.dtype.hasobject:
        found = x.select(axis, int(index.reshape(())))
        for _ in range(index.ndim):
            found = found.unsqueeze(axis)
        return found
    if isinstance(index, np.ndarray) and call.is_constant(1):
        if index.ndim == 1 and _in_order(index, x.shape[axis]):
            return x.narrow(axis, int(index[0]), len(index))
        size = x.shape[axis]
        places = np.where(index < 0, index + size, index).astype(np.int64)
        flat_places = call.made("places", places.reshape(-1))
    else:
        flat_places = from_front(call.tensor(1).to(torch.int64), x.shape[axis]).reshape(-1)
    found = torch.index_select(x, axis, flat_places)
    return found if index.ndim == 1 else found.reshape(
        [*x.shape[:axis], *index.shape, *x.shape[axis + 1 :]]
    )  # fmt: skip


def _in_order(index: np.ndarray, size: Any) -> bool:
    whole = not isinstance(size, SYMBOLIC)
    return whole and len(index) > 0 and bool(
        (index == np.arange(index[0], index[0] + len(index))).all() and index[0] >= 0
        and index[-1] < size
    )  # fmt: skip


def from_front(index: Tensor, size: Any) -> Tensor:
    """Places counted from the end, as ONNX allows, counted from the front."""
    return torch.where(index < 0, index + size, index)


def slice_host(call: Call) -> Value:
    array = call.host(0)
    return array[tuple(_slices(call, array.ndim))]


def _slices(call: Call, rank: int) -> list[slice]:
    starts, ends = call.axes(1, "starts") or [], call.axes(2, "ends") or []
    axes = call.axes(3)
    axes = list(range(len(starts))) if axes is None else axes
    steps = call.ints(4) if call.has(4) else [1] * len(starts)
    found = [slice(None)] * rank
    for start, end, axis, step in zip(starts, ends, axes, steps, strict=True):
        beyond = step < 0 and not isinstance(end, SYMBOLIC) and end < -(2**31)
        found[axis] = slice(start, None if beyond else end, step)  # Python takes -1 for the last
    return found


@operation("Slice", host=slice_host)
def cut(call: Call) -> Tensor:
    x = call.tensor(0)
    for axis, part in enumerate(_slices(call, x.ndim)):
        if part == slice(None):
            continue
        step = part.step or 1
        if step > 0:
            x = x[(slice(None),) * axis + (part,)]
            continue
        places = np.arange(x.shape[axis])[part]
        if step == -1 and len(places) == x.shape[axis]:
            x = x.flip(axis)
        else:
            x = torch.index_select(x, axis, call.made(f"places_{axis}", places.copy()))
    return x


@operation("GatherElements")
def gather_elements(call: Call) -> Tensor:
    x, axis = call.tensor(0), call.attribute("axis", 0)
    index = from_front(call.tensor(1).to(torch.int64), x.shape[axis])
    return torch.gather(x, axis, index)


@operation("GatherND")
def gather_nd(call: Call) -> Tensor:
    x, index = call.tensor(0), call.tensor(1).to(torch.int64)
    batch = call.attribute("batch_dims", 0)
    depth = index.shape[-1]
    places: list[Tensor] = []
    for axis in range(batch):
        shape = [1] * (index.ndim - 1)
        shape[axis] = x.shape[axis]
        places.append(torch.arange(x.shape[axis]).reshape(shape))
    places += [from_front(index[..., i], x.shape[batch + i]) for i in range(depth)]
    return x[tuple(places)]


REDUCED = {"add": "sum", "mul": "prod", "max": "amax", "min": "amin"}


@operation("ScatterElements", "Scatter")
def scatter_elements(call: Call) -> Tensor:
    x, axis = call.tensor(0), call.attribute("axis", 0)
    index = from_front(call.tensor(1).to(torch.int64), x.shape[axis])
    how = call.attribute("reduction", "none")
    if how == "none":
        return torch.scatter(x, axis, index, call.tensor(2))
    return torch.scatter_reduce(x, axis, index, call.tensor(2), REDUCED[how])


@operation("ScatterND")
def scatter_nd(call: Call) -> Tensor:
    x, index, updates = call.tensor(0), call.tensor(1).to(torch.int64), call.tensor(2)
    depth, how = index.shape[-1], call.attribute("reduction", "none")
    if how == "none":
        places = tuple(from_front(index[..., i], x.shape[i]) for i in range(depth))
        return torch.index_put(x, places, updates)
    sizes = list(x.shape)
    rows = torch.zeros_like(index[..., 0])
    for axis in range(depth):
        rows = rows * sizes[axis] + from_front(index[..., axis], sizes[axis])
    outer = x.reshape([math.prod(sizes[:depth]), -1])
    new = updates.reshape(rows.numel(), -1)
    places_ = rows.reshape(-1, 1).expand(new.shape)
    return torch.scatter_reduce(outer, 0, places_, new, REDUCED[how]).reshape(sizes)


@operation("OneHot")
def one_hot(call: Call) -> Tensor:
    index, depth = call.tensor(0).to(torch.int64), call.ints(1)[0]
    off, on = call.tensor(2).unbind()
    axis = call.attribute("axis", -1)
    axis = axis + index.ndim + 1 if axis < 0 else axis
    places = torch.arange(depth).reshape([-1] + [1] * (index.ndim - axis))
    return torch.where(from_front(index, depth).unsqueeze(axis) == places, on, off)


def nonzero_host(call: Call) -> Value:
    return np.array(np.nonzero(call.host(0)), dtype=np.int64)


@operation("NonZero", host=nonzero_host)
def nonzero(call: Call) -> Value:
    return np.array(np.nonzero(call.host(0)), dtype=np.int64)


@operation("Compress")
def compress(call: Call) -> Tensor:
    x, axis = call.tensor(0), call.attribute("axis")
    places = np.flatnonzero(call.host(1)).astype(np.int64)
    x = x.flatten() if axis is None else x
    return torch.index_select(x, axis or 0, call.made("places", places))


@operation("ReverseSequence")
def reverse_sequence(call: Call) -> Tensor:
    x, lengths = call.tensor(0), call.tensor(1).to(torch.int64)
    batch, time = call.attribute("batch_axis", 1), call.attribute("time_axis", 0)
    steps = torch.arange(x.shape[time])
    steps, ends = (steps.unsqueeze(1), lengths.unsqueeze(0)) if time == 0 else (
        steps.unsqueeze(0), lengths.unsqueeze(1)
    )  # fmt: skip
    places = torch.where(steps < ends, ends - 1 - steps, steps)
    if batch + time != 1:
        call.refuse("batch and time are axes 0 and 1", "repair the file")
    places = places.reshape([*places.shape, *[1] * (x.ndim - 2)]).expand(x.shape)
    return torch.gather(x, time, places)


@operation("TensorScatter")
def tensor_scatter(call: Call) -> Tensor:
    past, update = call.tensor(0), call.tensor(1)
    axis, size = call.attribute("axis", -2), past.shape[call.attribute("axis", -2)]
    axis = axis + past.ndim if axis < 0 else axis
    start = call.tensor(2) if call.has(2) else torch.zeros(past.shape[0], dtype=torch.int64)
    places = start.unsqueeze(1) + torch.arange(update.shape[axis])
    places = places % size if call.attribute("mode", "linear") == "circular" else places
    shape = [past.shape[0]] + [1] * (past.ndim - 1)
    shape[axis] = update.shape[axis]
    return torch.scatter(past, axis, places.reshape(shape).expand(update.shape), update)
