"""Quantised networks: pairs of QuantizeLinear and DequantizeLinear, and integer arithmetic.

A pair behind an activation is read as PyTorch's fake quantisation, whose largest value becomes the
threshold of neurons; what is quantised ahead of time (weights) is a constant.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from torch import Tensor

from snnconvert.conversion.capture.onnx.operations.convolutions import conv
from snnconvert.conversion.capture.onnx.steps.call import Call
from snnconvert.conversion.capture.onnx.steps.registry import operation
from snnconvert.conversion.capture.onnx.steps.types import TORCH_TYPES

PAIR = "QuantizeDequantize"  # what the reader makes of a pair
RANGES = {2: (0, 255), 3: (-128, 127), 4: (0, 65535), 5: (-32768, 32767), 21: (0, 15),
          22: (-8, 7)}  # fmt: skip
CODES = {torch.uint8: 2, torch.int8: 3, torch.int32: 4, torch.int16: 5}


def along(call: Call, parameter: Tensor, x: Tensor) -> Tensor:
    """A scale or zero point, broadcast along the axis or over the blocks that share it."""
    if parameter.numel() == 1:
        return parameter.reshape([])
    axis = call.attribute("axis", 1)
    axis = axis + x.ndim if axis < 0 else axis
    if parameter.ndim == x.ndim:
        block = call.attribute("block_size", 0) or -(-x.shape[axis] // parameter.shape[axis])
        return parameter.repeat_interleave(block, axis).narrow(axis, 0, x.shape[axis])
    shape = [1] * x.ndim
    shape[axis] = -1
    return parameter.reshape(shape)


def numbers_of(codes: np.ndarray, scale: np.ndarray, zero: np.ndarray) -> np.ndarray:
    """What the integers of a weight stand for."""
    result: np.ndarray = (codes.astype(scale.dtype) - zero.astype(scale.dtype)) * scale
    return result


def code_of(call: Call) -> int:
    """The type that is quantised to."""
    stored = call.attribute("zero_point_type") or call.attribute("output_dtype")
    if stored:
        return int(stored)
    return CODES.get(call.tensor(2).dtype, 0) if call.has(2) else 2


@operation("QuantizeLinear", "com.microsoft::QuantizeLinear")
def quantize(call: Call) -> Tensor:
    x, code = call.tensor(0), code_of(call)
    if code not in RANGES:
        call.refuse(f"to the type {code} is not known", "quantise to 4, 8 or 16 bit integers")
    low, high = RANGES[code]
    scaled = torch.round(x / along(call, call.tensor(1), x))
    if call.has(2):
        scaled = scaled + along(call, call.tensor(2), x).to(scaled.dtype)
    return scaled.clamp(low, high).to(TORCH_TYPES[code])


@operation("DequantizeLinear", "com.microsoft::DequantizeLinear")
def dequantize(call: Call) -> Tensor:
    x, scale = call.tensor(0), call.tensor(1)
    moved = x.to(scale.dtype)
    if call.has(2):
        moved = moved - along(call, call.tensor(2), x).to(scale.dtype)
    return moved * along(call, scale, x)


@operation(PAIR)
def fake_quantize(call: Call) -> Tensor:
    """QuantizeLinear and DequantizeLinear of one constant scale and zero point."""
    x, scale = call.tensor(0), call.host(1).reshape(-1)
    low, high = RANGES[code_of(call)]
    zero = call.host(2).reshape(-1).astype("int32") if call.has(2) else (scale * 0).astype("int32")
    if len(scale) == 1:
        return torch.fake_quantize_per_tensor_affine(x, float(scale[0]), int(zero[0]), low, high)
    axis = call.attribute("axis", 1) % x.ndim
    return torch.fake_quantize_per_channel_affine(
        x, call.made("scale", scale), call.made("zero_point", zero), axis, low, high
    )


@operation("DynamicQuantizeLinear")
def dynamic_quantize(call: Call) -> tuple[Tensor, Tensor, Tensor]:
    codes, scale, zero = counted(call.tensor(0))
    return codes.to(torch.uint8), scale, zero.to(torch.uint8)


def counted(x: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """What stands for `x` in 8 bits, in steps between its own extremes; their size; that of 0."""
    low, high = x.amin().clamp(max=0), x.amax().clamp(min=0)
    scale = (high - low) / 255
    scale = torch.where(scale == 0, torch.ones_like(scale), scale)
    zero = torch.round((-low / scale).clamp(0, 255))
    return (torch.round(x / scale) + zero).clamp(0, 255), scale, zero


class Integers(Call):
    """A call whose integer tensors are seen as the numbers that they stand for, exactly."""

    def __init__(self, call: Call, tensors: dict[int, Tensor]) -> None:
        super().__init__(call.step, call.values)
        self.numbers = tensors

    def has(self, index: int) -> bool:
        return index in self.numbers

    def tensor(self, index: int, role: str = "", trainable: bool = False) -> Tensor:
        return self.numbers[index]


def _shifted(call: Call, index: int, at_zero: int, axis: int | None = None) -> Tensor:
    x = call.tensor(index).double()
    if not call.has(at_zero):
        return x
    zero = call.tensor(at_zero).double()
    if axis is not None and zero.ndim == 1 and len(zero) > 1:
        shape = [1] * x.ndim
        shape[axis] = -1
        zero = zero.reshape(shape)
    return x - zero


@operation("ConvInteger")
def conv_integer(call: Call) -> Any:
    numbers = {0: _shifted(call, 0, 2), 1: _shifted(call, 1, 3, 0)}
    return conv(Integers(call, numbers)).to(torch.int32)


@operation("MatMulInteger")
def matmul_integer(call: Call) -> Tensor:
    a, b = _shifted(call, 0, 2, -2), _shifted(call, 1, 3, -1)
    return torch.matmul(a, b).to(torch.int32)


@operation("QLinearConv")
def quantised_conv(call: Call) -> Tensor:
    """Inputs x, scale, zero point, w, scale, zero point, those of the result, bias."""
    x = call.tensor(0).double() - call.tensor(2).double()
    weight = call.tensor(3).double()
    each = [-1, *[1] * (weight.ndim - 1)]
    weight = weight - call.tensor(5).double().reshape(each)
    numbers = {0: x, 1: weight}
    if call.has(8):
        numbers[2] = call.tensor(8).double()
    scales = call.tensor(4).reshape([-1, *[1] * (weight.ndim - 2)])
    result = conv(Integers(call, numbers)) * (call.tensor(1) * scales).double()
    return requantised(call, result, 6)


def requantised(call: Call, result: Tensor, at: int) -> Tensor:
    """In the scale and zero point that the inputs from `at` on give."""
    zero = call.tensor(at + 1)
    low, high = RANGES[CODES[zero.dtype]]
    scaled = torch.round(result / call.tensor(at)) + zero.double()
    return scaled.clamp(low, high).to(zero.dtype)


@operation("QLinearMatMul")
def quantised_matmul(call: Call) -> Any:
    a = _shifted(call, 0, 2, -2)
    b = _shifted(call, 3, 5, -1)
    scales = call.tensor(1).reshape([-1, 1] if call.tensor(1).ndim else []) * call.tensor(4)
    return requantised(call, torch.matmul(a, b) * scales.double(), 6)
