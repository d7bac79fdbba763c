"""Sums, means, extremes over axes."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numpy as np
import torch
from torch import Tensor

from snnconvert.conversion.capture.onnx.steps.call import Call, Value, flat, host_array
from snnconvert.conversion.capture.onnx.steps.registry import OPERATIONS, operation


def axes_of(call: Call, rank: int) -> list[int] | None:
    """Sorted from the front; None where nothing is reduced at all."""
    axes = call.axes(1)
    if not axes:
        return None if call.attribute("noop_with_empty_axes", 0) else list(range(rank))
    return sorted(axis % rank for axis in axes)


def reduction(
    name: str, function: Callable[[Tensor, list[int], bool], Tensor], start: float,
    each: Callable[[Tensor], Tensor] | None = None, host: Any = None, sizes: Any = None,
) -> None:  # fmt: skip
    """File a reduction.

    Args:
        start: what it gives for no elements.
        each: what is done to the elements first.
        host: the same of arrays, as numpy has it.
        sizes: the same of a list of numbers that may be symbolic.
    """

    @operation(name, host=None if host is None else _on_host(host, sizes))
    def run(call: Call) -> Tensor:
        return _reduced(call, function, start, each)


def _reduced(call: Call, function: Any, start: float, each: Any) -> Tensor:
    x, keep = call.tensor(0), bool(call.attribute("keepdims", 1))
    axes = axes_of(call, x.ndim)
    x = each(x) if each is not None else x
    if axes is None:
        return x
    if not axes:
        return function(x.unsqueeze(0), [0], False)  # type: ignore[no-any-return]
    if any(isinstance(x.shape[axis], int) and x.shape[axis] == 0 for axis in axes):
        sizes = [1 if axis in axes else size for axis, size in enumerate(x.shape)]
        kept = sizes if keep else [s for axis, s in enumerate(sizes) if axis not in axes]
        fill = bool(start == math.inf) if x.dtype == torch.bool else start
        return torch.full(kept, fill, dtype=x.dtype)
    result: Tensor = function(x, axes, keep)
    return result


def _on_host(function: Any, sizes: Any) -> Any:
    """Sizes that are symbolic are multiplied, added or compared one by one."""

    def handler(call: Call) -> Value:
        array, keep = call.host(0), bool(call.attribute("keepdims", 1))
        axes = axes_of(call, array.ndim)
        if not array.size:
            empty: Value = OPERATIONS[call.node.op].run(call)
            return empty
        if not axes:
            return array
        if not array.dtype.hasobject:
            found = function(array, axis=tuple(axes), keepdims=keep)
            return np.asarray(found).astype(array.dtype)
        if sizes is None or array.ndim != 1:
            call.refuse("of sizes that vary is not known", "fix the shapes before export")
        return host_array([sizes(flat(array))], (1,) if keep else ())

    return handler


def product(x: Tensor, axes: list[int], keep: bool) -> Tensor:
    for axis in reversed(axes):
        x = x.prod(axis, keepdim=keep, dtype=x.dtype)
    return x


def total(x: Tensor, axes: list[int], keep: bool) -> Tensor:
    return x.sum(axes, keepdim=keep, dtype=x.dtype)


def average(x: Tensor, axes: list[int], keep: bool) -> Tensor:
    if x.is_floating_point():
        return x.mean(axes, keepdim=keep)
    count = math.prod(x.shape[axis] for axis in axes)
    return torch.div(total(x, axes, keep), count, rounding_mode="trunc")


def log_sum_exp(x: Tensor, axes: list[int], keep: bool) -> Tensor:
    return torch.logsumexp(x.float() if not x.is_floating_point() else x, axes, keepdim=keep)


def root(x: Tensor, axes: list[int], keep: bool) -> Tensor:
    return total(x, axes, keep).sqrt()


def logarithm(x: Tensor, axes: list[int], keep: bool) -> Tensor:
    return total(x, axes, keep).log()


def largest(x: Tensor, axes: list[int], keep: bool) -> Tensor:
    return x.amax(axes, keepdim=keep)


def least(x: Tensor, axes: list[int], keep: bool) -> Tensor:
    return x.amin(axes, keepdim=keep)


reduction("ReduceSum", total, 0, host=np.sum, sizes=sum)
reduction("ReduceMean", average, math.nan, host=np.mean)
reduction("ReduceProd", product, 1, host=np.prod, sizes=math.prod)
reduction("ReduceMax", largest, -math.inf, host=np.max, sizes=max)
reduction("ReduceMin", least, math.inf, host=np.min, sizes=min)
reduction("ReduceL1", total, 0, torch.abs)
reduction("ReduceL2", root, 0, torch.square)
reduction("ReduceSumSquare", total, 0, torch.square)
reduction("ReduceLogSum", logarithm, -math.inf)
reduction("ReduceLogSumExp", log_sum_exp, -math.inf)


def _arg(call: Call, largest: bool) -> Any:
    x, axis = call.tensor(0), call.attribute("axis", 0)
    keep, last = bool(call.attribute("keepdims", 1)), call.attribute("select_last_index", 0)
    find = torch.argmax if largest else torch.argmin
    if not last:
        return find(x, axis, keepdim=keep)
    return x.shape[axis] - 1 - find(x.flip(axis), axis, keepdim=keep)


@operation("ArgMax")
def arg_max(call: Call) -> Any:
    return _arg(call, True)


@operation("ArgMin")
def arg_min(call: Call) -> Any:
    return _arg(call, False)


@operation("TopK")
def top_k(call: Call) -> tuple[Tensor, Tensor]:
    x = call.tensor(0)
    count = call.ints(1)[0] if call.has(1) else call.attribute("k")
    largest = bool(call.attribute("largest", 1))
    axis = call.attribute("axis", -1)
    values, places = torch.sort(x, dim=axis, descending=largest, stable=True)  # first of equals
    return values.narrow(axis, 0, count), places.narrow(axis, 0, count)


@operation("CumSum")
def cumulative_sum(call: Call) -> Tensor:
    return _cumulative(call, torch.cumsum, 0)


@operation("CumProd")
def cumulative_product(call: Call) -> Tensor:
    return _cumulative(call, torch.cumprod, 1)


def _cumulative(call: Call, function: Any, start: int) -> Tensor:
    x, axis = call.tensor(0), call.ints(1)[0]
    backwards = call.attribute("reverse", 0)
    x = x.flip(axis) if backwards else x
    dtype = x.dtype
    if call.attribute("exclusive", 0):
        first = torch.full_like(x.narrow(axis, 0, 1), start)
        x = torch.cat([first, x.narrow(axis, 0, x.shape[axis] - 1)], axis)
    result: Tensor = function(x, axis).to(dtype)
    return result.flip(axis) if backwards else result
