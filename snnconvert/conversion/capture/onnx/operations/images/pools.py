"""Pools."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from snnconvert.conversion.capture.onnx.operations.convolutions import CONVOLUTIONS, check_axes
from snnconvert.conversion.capture.onnx.steps.call import Call
from snnconvert.conversion.capture.onnx.steps.registry import operation
from snnconvert.conversion.capture.onnx.steps.windows import Pads, paddings_of, torch_pads

MAX_POOLS = {1: F.max_pool1d, 2: F.max_pool2d, 3: F.max_pool3d}
AVERAGE_POOLS = {1: F.avg_pool1d, 2: F.avg_pool2d, 3: F.avg_pool3d}


def windows_of(call: Call, x: Tensor) -> tuple[list[int], list[int], list[int], Pads]:
    """Kernel, stride, dilation and padding."""
    kernel = list(call.attribute("kernel_shape") or ())
    check_axes(call, len(kernel))
    stride = list(call.attribute("strides", [1] * len(kernel)))
    dilation = list(call.attribute("dilations", [1] * len(kernel)))
    if min(*kernel, *stride, *dilation) < 1:
        call.refuse("kernel, strides and dilations are 1 or more", "repair the file")
    return kernel, stride, dilation, paddings_of(call, x.shape[2:], kernel, stride, dilation)


def completed(call: Call, x: Tensor, kernel: Sequence[int], stride: Sequence[int],
              dilation: Sequence[int], pads: Pads) -> Pads:  # fmt: skip
    """`pads`, longer behind where `ceil_mode` asks for a last window that hangs over."""
    if not call.attribute("ceil_mode", 0):
        return pads
    found: Pads = []
    for axis, (begin, end) in enumerate(pads):
        size = x.shape[2 + axis]
        reach = (kernel[axis] - 1) * dilation[axis] + 1
        windows = -(-(size + begin + end - reach) // stride[axis]) + 1
        if (windows - 1) * stride[axis] >= size + begin:  # it would start in the padding behind
            windows -= 1
        needed = (windows - 1) * stride[axis] + reach
        found.append((begin, max(end, needed - size - begin)))
    return found


@operation("MaxPool")
def max_pool(call: Call) -> Any:
    x = call.tensor(0)
    integer = None if x.is_floating_point() else x.dtype
    x = x.float() if integer is not None else x
    kernel, stride, dilation, pads = windows_of(call, x)
    axes = len(kernel)
    if len(call.node.outputs) > 1 and call.node.outputs[1]:
        return _with_places(call, x, integer)
    pads = completed(call, x, kernel, stride, dilation, pads)
    even = all(a == b and 0 <= 2 * a <= k for (a, b), k in zip(pads, kernel, strict=True))
    if not even:
        x = F.pad(x, torch_pads(pads), value=-math.inf)
    padding = [begin for begin, _ in pads] if even else [0] * axes
    result = MAX_POOLS[axes](x, kernel, stride, padding, dilation)
    return result if integer is None else result.to(integer)


def _with_places(call: Call, x: Tensor, integer: torch.dtype | None) -> tuple[Tensor, Tensor]:
    """Where the largest lay too, counted over the whole tensor."""
    kernel, stride, dilation, pads = windows_of(call, x)
    pads = completed(call, x, kernel, stride, dilation, pads)
    axes, sizes = len(kernel), x.shape[2:]
    padded = F.pad(x, torch_pads(pads), value=-math.inf)
    values, places = MAX_POOLS[axes](padded, kernel, stride, 0, dilation, False, True)
    row_major = not call.attribute("storage_order", 0)
    coordinates: list[Tensor] = []
    for axis in reversed(range(axes)):
        size = padded.shape[2 + axis]
        coordinates.insert(0, places % size - pads[axis][0])
        places = places // size
    flat = torch.zeros_like(places)
    for axis in range(axes) if row_major else reversed(range(axes)):
        flat = flat * sizes[axis] + coordinates[axis]
    planes = torch.arange(x.shape[0] * x.shape[1]).reshape([*x.shape[:2], *[1] * axes])
    flat = flat + planes * math.prod(sizes)
    return (values if integer is None else values.to(integer)), flat


def summed(
    x: Tensor, kernel: Sequence[int], stride: Sequence[int], dilation: Sequence[int]
) -> Tensor:
    """Sum over each window of a tensor that is padded already."""
    axes = len(kernel)
    if all(step == 1 for step in dilation):
        return AVERAGE_POOLS[axes](x, list(kernel), list(stride)) * math.prod(kernel)
    ones = torch.ones([1, 1, *kernel], dtype=x.dtype)
    shape = x.shape[:2]
    result = CONVOLUTIONS[axes](x.flatten(0, 1).unsqueeze(1), ones, None, stride, 0, dilation)
    return result.reshape([*shape, *result.shape[2:]])


@operation("AveragePool")
def average_pool(call: Call) -> Tensor:
    x = call.tensor(0)
    kernel, stride, dilation, pads = windows_of(call, x)
    axes, counted = len(kernel), bool(call.attribute("count_include_pad", 0))
    whole = completed(call, x, kernel, stride, dilation, pads)
    plain = whole == pads and all(step == 1 for step in dilation)
    if plain and all(a == b and 2 * a <= k for (a, b), k in zip(pads, kernel, strict=True)):
        padding = [begin for begin, _ in pads]
        return AVERAGE_POOLS[axes](x, kernel, stride, padding, False, counted)
    if plain and (counted or all(pair == (0, 0) for pair in pads)):
        return AVERAGE_POOLS[axes](F.pad(x, torch_pads(pads)), kernel, stride)
    total = summed(F.pad(x, torch_pads(whole)), kernel, stride, dilation)
    ones = torch.ones([1, 1, *x.shape[2:]], dtype=x.dtype)
    if counted:  # what `ceil_mode` adds behind is not counted
        ones = F.pad(ones, torch_pads(pads), value=1.0)
        whole = [(0, b - d) for (_, b), (_, d) in zip(whole, pads, strict=True)]
    return total / summed(F.pad(ones, torch_pads(whole)), kernel, stride, dilation)


@operation("LpPool")
def lp_pool(call: Call) -> Any:
    x, p = call.tensor(0), call.attribute("p", 2)
    kernel, stride, dilation, pads = windows_of(call, x)
    pads = completed(call, x, kernel, stride, dilation, pads)
    total = summed(F.pad(x.abs() ** p, torch_pads(pads)), kernel, stride, dilation)
    return total ** (1 / p)


@operation("GlobalAveragePool")
def global_average_pool(call: Call) -> Tensor:
    x = call.tensor(0)
    return x.mean(list(range(2, x.ndim)), keepdim=True)


@operation("GlobalMaxPool")
def global_max_pool(call: Call) -> Tensor:
    x = call.tensor(0)
    return x.amax(list(range(2, x.ndim)), keepdim=True)


@operation("GlobalLpPool")
def global_lp_pool(call: Call) -> Any:
    x, p = call.tensor(0), call.attribute("p", 2)
    return (x.abs() ** p).sum(list(range(2, x.ndim)), keepdim=True) ** (1 / p)


@operation("MaxUnpool")
def max_unpool(call: Call) -> Tensor:
    x, places = call.tensor(0), call.tensor(1)
    kernel = list(call.attribute("kernel_shape"))
    stride = call.attribute("strides", [1] * len(kernel))
    pads = call.attribute("pads", [0] * 2 * len(kernel))
    natural = [
        (x.shape[2 + a] - 1) * stride[a] - pads[a] - pads[a + len(kernel)] + kernel[a]
        for a in range(len(kernel))
    ]
    shape = call.ints(2) if call.has(2) else [*x.shape[:2], *natural]
    inner = math.prod(natural) * x.shape[0] * x.shape[1]
    flat = torch.zeros([inner], dtype=x.dtype).scatter(0, places.flatten(), x.flatten())
    found = flat.reshape([*x.shape[:2], *natural])
    behind = [(0, shape[2 + axis] - size) for axis, size in enumerate(natural)]
    return F.pad(found, torch_pads(behind))
