"""Normalisations."""

from __future__ import annotations

from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from snnconvert.conversion.capture.onnx.steps.call import Call
from snnconvert.conversion.capture.onnx.steps.registry import operation


@operation("BatchNormalization")
def batch_norm(call: Call) -> Any:
    x, epsilon = call.tensor(0), call.attribute("epsilon", 1e-5)
    weight = call.tensor(1, "weight", trainable=True)
    bias = call.tensor(2, "bias", trainable=True)
    mean, variance = call.tensor(3, "running_mean"), call.tensor(4, "running_var")
    if call.attribute("training_mode", 0):
        axes = [axis for axis in range(x.ndim) if axis != 1]
        keep = call.attribute("momentum", 0.9)
        new_mean, new_variance = x.mean(axes), x.var(axes, correction=0)
        result = F.batch_norm(x, new_mean, new_variance, weight, bias, False, 0.0, epsilon)
        found = result, mean * keep + new_mean * (1 - keep), (
            variance * keep + new_variance * (1 - keep)
        )  # fmt: skip
        return found[: len(call.node.outputs)]
    return F.batch_norm(x, mean, variance, weight, bias, False, 0.0, epsilon)


@operation("InstanceNormalization")
def instance_norm(call: Call) -> Tensor:
    x, epsilon = call.tensor(0), call.attribute("epsilon", 1e-5)
    weight = call.tensor(1, "weight", trainable=True)
    bias = call.tensor(2, "bias", trainable=True)
    return F.instance_norm(x, weight=weight, bias=bias, eps=epsilon)


@operation("GroupNormalization")
def group_norm(call: Call) -> Tensor:
    x, epsilon = call.tensor(0), call.attribute("epsilon", 1e-5)
    groups = call.attribute("num_groups")
    weight, bias = call.tensor(1, "weight", True), call.tensor(2, "bias", True)
    if call.opset < 21:  # one number a group
        each = x.shape[1] // groups
        weight, bias = weight.repeat_interleave(each), bias.repeat_interleave(each)
    return F.group_norm(x, groups, weight, bias, epsilon)


@operation("LayerNormalization")
def layer_norm(call: Call) -> Any:
    x, epsilon = call.tensor(0), call.attribute("epsilon", 1e-5)
    axis = call.attribute("axis", -1)
    axis = axis + x.ndim if axis < 0 else axis
    shape = list(x.shape[axis:])
    weight = call.tensor(1, "weight", True) if call.has(1) else None
    bias = call.tensor(2, "bias", True) if call.has(2) else None
    plain = all(v is None or list(v.shape) == shape for v in (weight, bias))
    if plain:
        result = F.layer_norm(x, shape, weight, bias, epsilon)
    else:
        result = F.layer_norm(x, shape, eps=epsilon)
        result = result * weight if weight is not None else result
        result = result + bias if bias is not None else result
    if len(call.node.outputs) == 1:
        return result
    axes = list(range(axis, x.ndim))
    mean = x.mean(axes, keepdim=True)
    deviation = x.var(axes, keepdim=True, correction=0)
    return result, mean, torch.rsqrt(deviation + epsilon)


@operation("RMSNormalization", "SimplifiedLayerNormalization")
def rms_norm(call: Call) -> Tensor:
    x, epsilon = call.tensor(0), call.attribute("epsilon", 1e-5)
    axis = call.attribute("axis", -1)
    axis = axis + x.ndim if axis < 0 else axis
    scale = call.tensor(1, "weight", True)
    shape = list(x.shape[axis:])
    if list(scale.shape) == shape:
        return F.rms_norm(x, shape, scale, epsilon)
    return F.rms_norm(x, shape, None, epsilon) * scale


@operation("LpNormalization")
def lp_norm(call: Call) -> Tensor:
    x, axis, p = call.tensor(0), call.attribute("axis", -1), call.attribute("p", 2)
    size = x.abs().sum(axis, keepdim=True) if p == 1 else x.square().sum(axis, keepdim=True).sqrt()
    return torch.where(size == 0, torch.zeros_like(x), x / size)


@operation("MeanVarianceNormalization")
def mean_variance_norm(call: Call) -> Tensor:
    x, axes = call.tensor(0), call.attribute("axes", [0, 2, 3])
    centred = x - x.mean(axes, keepdim=True)
    return centred / (centred.square().mean(axes, keepdim=True).sqrt() + 1e-9)


@operation("LRN")
def local_response_norm(call: Call) -> Any:
    """Squares are summed over `size` neighbouring channels, more of them behind."""
    x, size = call.tensor(0), call.attribute("size")
    alpha, beta = call.attribute("alpha", 1e-4), call.attribute("beta", 0.75)
    before = (size - 1) // 2
    squares = F.pad(x.square().flatten(2).transpose(1, 2), (before, size - 1 - before))
    mean = F.avg_pool1d(squares, size, 1).transpose(1, 2).reshape(x.shape)
    return x / (mean * alpha + call.attribute("bias", 1.0)) ** beta
