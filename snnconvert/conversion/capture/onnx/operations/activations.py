"""Activation functions."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from snnconvert.conversion.capture.onnx.operations.elementwise import unary
from snnconvert.conversion.capture.onnx.steps.call import Call, flat
from snnconvert.conversion.capture.onnx.steps.registry import operation

for name, function in (
    ("Relu", torch.relu), ("Sigmoid", torch.sigmoid), ("Tanh", torch.tanh),
    ("HardSwish", F.hardswish), ("Mish", F.mish), ("Softsign", F.softsign),
):  # fmt: skip
    unary(name, function)


@operation("Softplus")
def softplus(call: Call) -> Tensor:
    return F.softplus(call.tensor(0), threshold=60)


@operation("Clip")
def clip(call: Call) -> Tensor:
    x = call.tensor(0)
    low, high = _bound(call, 1, "min"), _bound(call, 2, "max")
    if low is None and high is None:
        return x
    if isinstance(low, Tensor) or isinstance(high, Tensor):
        as_tensors = [
            bound if bound is None or isinstance(bound, Tensor) else x.new_tensor(bound)
            for bound in (low, high)
        ]
        return torch.clamp(x, *as_tensors)
    if low is not None and high is not None and low > high:  # then all are `high`
        low = high
    if low is None and high is not None:
        return torch.clamp(x, max=high)
    return x.clamp(low, high) if high is not None else x.clamp(min=low)


def _bound(call: Call, index: int, name: str) -> Any:
    """A number, a tensor, or None; the largest floats of old exporters are no bound."""
    if call.has(index):
        value = call.value(index)
        if isinstance(value, Tensor):
            return value
        number = flat(value)[0] if value.size else None
    else:
        number = call.attribute(name) if call.opset < 11 else None
    limit = float(np.finfo(np.float32).max)
    return None if number is None or abs(number) >= limit else number


@operation("LeakyRelu")
def leaky_relu(call: Call) -> Tensor:
    return F.leaky_relu(call.tensor(0), call.attribute("alpha", 0.01))


@operation("PRelu")
def prelu(call: Call) -> Tensor:
    """One slope a channel is PyTorch's; any other form is written out."""
    x = call.tensor(0)
    slope = call.value(1)
    if call.is_constant(1) and x.ndim >= 2 and x.is_floating_point():
        shape = (1,) * (x.ndim - slope.ndim) + tuple(slope.shape)
        if slope.ndim <= x.ndim and all(n == 1 for i, n in enumerate(shape) if i != 1):
            return F.prelu(x, call.weight(1, "weight", lambda array: array.reshape(-1)))
    return torch.where(x < 0, x * call.tensor(1), x)


@operation("Elu")
def elu(call: Call) -> Tensor:
    return F.elu(call.tensor(0), call.attribute("alpha", 1.0))


@operation("Celu")
def celu(call: Call) -> Tensor:
    return F.celu(call.tensor(0), call.attribute("alpha", 1.0))


SELU = 1.67326319217681884765625, 1.05070102214813232421875


@operation("Selu")
def selu(call: Call) -> Any:
    x = call.tensor(0)
    alpha, gamma = call.attribute("alpha", SELU[0]), call.attribute("gamma", SELU[1])
    if abs(alpha - SELU[0]) < 1e-6 and abs(gamma - SELU[1]) < 1e-6:
        return F.selu(x)
    return gamma * F.elu(x, alpha)


@operation("HardSigmoid")
def hard_sigmoid(call: Call) -> Any:
    x = call.tensor(0)
    alpha, beta = call.attribute("alpha", 0.2), call.attribute("beta", 0.5)
    if abs(alpha - 1 / 6) < 1e-7 and beta == 0.5:
        return F.hardsigmoid(x)
    return (x * alpha + beta).clamp(0, 1)


@operation("ThresholdedRelu")
def thresholded_relu(call: Call) -> Tensor:
    return F.threshold(call.tensor(0), call.attribute("alpha", 1.0), 0.0)


@operation("Shrink")
def shrink(call: Call) -> Tensor:
    x, bias, limit = call.tensor(0), call.attribute("bias", 0.0), call.attribute("lambd", 0.5)
    zero = torch.zeros_like(x)
    return torch.where(x < -limit, x + bias, torch.where(x > limit, x - bias, zero))


@operation("Gelu")
def gelu(call: Call) -> Tensor:
    return F.gelu(call.tensor(0), approximate=call.attribute("approximate", "none"))


@operation("Swish")
def swish(call: Call) -> Tensor:
    x, alpha = call.tensor(0), call.attribute("alpha", 1.0)
    return F.silu(x) if alpha == 1 else x * torch.sigmoid(alpha * x)


def _along(call: Call, function: Any) -> Tensor:
    """Softmax and its like: before opset 13 over all axes from `axis` on, as if one."""
    x = call.tensor(0)
    axis = call.attribute("axis", -1 if call.opset >= 13 else 1)
    axis = axis + x.ndim if axis < 0 else axis
    if call.opset >= 13 or axis == x.ndim - 1:
        result: Tensor = function(x, axis)
        return result
    if all(size == 1 for size in x.shape[axis + 1 :]):
        return function(x, axis)  # type: ignore[no-any-return]
    together = x.flatten(axis)
    return function(together, axis).reshape(x.shape)  # type: ignore[no-any-return]


@operation("Softmax")
def softmax(call: Call) -> Tensor:
    return _along(call, lambda x, axis: torch.softmax(x, axis))


@operation("LogSoftmax")
def log_softmax(call: Call) -> Tensor:
    return _along(call, lambda x, axis: torch.log_softmax(x, axis))


@operation("Hardmax")
def hardmax(call: Call) -> Tensor:
    def largest(x: Tensor, axis: int) -> Tensor:
        where = x.argmax(axis, keepdim=True)
        places = torch.arange(x.shape[axis]).reshape([-1] + [1] * (x.ndim - 1 - axis))
        return (places == where).to(x.dtype)

    return _along(call, largest)
