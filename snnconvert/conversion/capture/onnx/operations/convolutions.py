"""Convolutions and matrix products."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from snnconvert.conversion.capture.onnx.steps.call import Call
from snnconvert.conversion.capture.onnx.steps.registry import operation
from snnconvert.conversion.capture.onnx.steps.windows import paddings_of, torch_pads

CONVOLUTIONS = {1: F.conv1d, 2: F.conv2d, 3: F.conv3d}
TRANSPOSED = {1: F.conv_transpose1d, 2: F.conv_transpose2d, 3: F.conv_transpose3d}


def weight_and_bias(call: Call) -> tuple[Tensor, Tensor | None]:
    weight = call.tensor(1, "weight", trainable=True)
    return weight, call.tensor(2, "bias", trainable=True) if call.has(2) else None


def check_axes(call: Call, axes: int) -> None:
    if axes not in CONVOLUTIONS:
        call.refuse(f"has {axes} spatial axes, known are 1, 2 and 3", "replace it before export")


@operation("Conv")
def conv(call: Call) -> Tensor:
    x, (weight, bias) = call.tensor(0), weight_and_bias(call)
    axes = weight.ndim - 2
    check_axes(call, axes)
    stride = call.attribute("strides", [1] * axes)
    dilation = call.attribute("dilations", [1] * axes)
    pads = paddings_of(call, x.shape[2:], weight.shape[2:], stride, dilation)
    padding = [begin for begin, _ in pads]
    if any(begin != end or begin < 0 for begin, end in pads):
        x, padding = F.pad(x, torch_pads(pads)), [0] * axes
    group = call.attribute("group", 1)
    return CONVOLUTIONS[axes](x, weight, bias, stride, padding, dilation, group)


@operation("ConvTranspose")
def conv_transpose(call: Call) -> Tensor:
    x, (weight, bias) = call.tensor(0), weight_and_bias(call)
    axes = weight.ndim - 2
    check_axes(call, axes)
    stride = call.attribute("strides", [1] * axes)
    dilation = call.attribute("dilations", [1] * axes)
    extra = call.attribute("output_padding", [0] * axes)
    group = call.attribute("group", 1)
    pads = _cut(call, x.shape[2:], weight.shape[2:], stride, dilation, extra)
    function = TRANSPOSED[axes]
    plain = all(begin == end >= 0 for begin, end in pads)
    if plain and all(e < max(s, d) for e, s, d in zip(extra, stride, dilation, strict=True)):
        padding = [begin for begin, _ in pads]
        return function(x, weight, bias, stride, padding, extra, group, dilation)
    full = function(x, weight, None, stride, 0, 0, group, dilation)
    cut = [(-begin, more - end) for (begin, end), more in zip(pads, extra, strict=True)]
    result = F.pad(full, torch_pads(cut))
    return result if bias is None else result + bias.reshape([-1] + [1] * axes)


def _cut(
    call: Call, sizes: Sequence[Any], kernel: Sequence[int], stride: Sequence[int],
    dilation: Sequence[int], extra: Sequence[int],
) -> list[tuple[Any, Any]]:  # fmt: skip
    """What to cut off before and behind each axis of the full result."""
    axes = len(kernel)
    mode, wanted = call.attribute("auto_pad", "NOTSET"), call.attribute("output_shape")
    if wanted is None and mode in ("NOTSET", "VALID"):
        pads = call.attribute("pads", [0] * 2 * axes) if mode == "NOTSET" else [0] * 2 * axes
        return [(pads[axis], pads[axis + axes]) for axis in range(axes)]
    wanted = list(wanted)[-axes:] if wanted is not None else [
        size * step for size, step in zip(sizes, stride, strict=True)
    ]  # fmt: skip
    found = []
    for axis in range(axes):
        full = stride[axis] * (sizes[axis] - 1) + (kernel[axis] - 1) * dilation[axis] + 1
        total = full + extra[axis] - wanted[axis]
        smaller = total // 2
        more = total - smaller
        found.append((smaller, more) if mode == "SAME_UPPER" else (more, smaller))
    return found


@operation("DeformConv")
def deform_conv(call: Call) -> Tensor:
    from torchvision.ops import deform_conv2d

    x, weight, offset = call.tensor(0), call.tensor(1, "weight", trainable=True), call.tensor(2)
    bias = call.tensor(3, "bias", trainable=True) if call.has(3) else None
    mask = call.tensor(4) if call.has(4) else None
    pads = call.attribute("pads", [0, 0, 0, 0])
    if x.ndim != 4 or pads[:2] != pads[2:]:
        call.refuse("only two axes, padded alike at both ends, are known", "replace it")
    stride, dilation = call.attribute("strides", [1, 1]), call.attribute("dilations", [1, 1])
    result: Tensor = deform_conv2d(x, offset, weight, bias, stride, pads[:2], dilation, mask)
    return result


@operation("Gemm")
def gemm(call: Call) -> Any:
    alpha, beta = call.attribute("alpha", 1.0), call.attribute("beta", 1.0)
    a = call.tensor(0)
    a = a.t() if call.attribute("transA", 0) else a
    turned = call.attribute("transB", 0)
    if call.is_constant(1) and alpha == 1:
        weight = call.weight(1, "weight", lambda array: array if turned else array.T)
        if not call.has(2):
            return F.linear(a, weight)
        vector = call.is_constant(2) and beta == 1
        if vector and call.step.constants[2].size == weight.shape[0]:
            return F.linear(a, weight, call.weight(2, "bias", lambda array: array.reshape(-1)))
        return F.linear(a, weight) + beta * call.tensor(2)
    b = call.tensor(1).t() if turned else call.tensor(1)
    result = alpha * (a @ b) if alpha != 1 else a @ b
    return (
        result + (beta * call.tensor(2) if beta != 1 else call.tensor(2)) if call.has(2) else result
    )


@operation("Linear")
def linear(call: Call) -> Tensor:
    """MatMul by a constant matrix and Add of a constant vector, joined by the reader."""
    weight = call.weight(1, "weight", lambda array: array.T)
    return F.linear(call.tensor(0), weight, call.weight(2, "bias"))


@operation("MatMul")
def matmul(call: Call) -> Tensor:
    if call.is_constant(1) and call.step.constants[1].ndim == 2:
        a = call.tensor(0)
        if a.ndim >= 2 and a.is_floating_point():
            return F.linear(a, call.weight(1, "weight", lambda array: array.T))
    return torch.matmul(call.tensor(0), call.tensor(1))


@operation("Einsum")
def einsum(call: Call) -> Tensor:
    equation = call.attribute("equation").replace(" ", "")
    return torch.einsum(equation, *call.tensors())
