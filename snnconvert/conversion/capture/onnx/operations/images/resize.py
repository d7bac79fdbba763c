"""Resize and Upsample: every mode and coordinate rule, axis by axis.

Each output element of an axis is a weighted sum of input elements; the weights come from where its
coordinate lies in the input. Where PyTorch's own interpolation has those weights, it is used.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from snnconvert.conversion.capture.onnx.steps.call import Call, flat
from snnconvert.conversion.capture.onnx.steps.registry import operation


@dataclass(frozen=True)
class Rule:
    """What Resize says of all axes alike."""

    mode: str
    coordinates: str
    nearest: str
    cubic: float
    outside: bool
    antialias: bool
    fill: float


@dataclass(frozen=True)
class Axis:
    """One axis that is resized: from `size` to `wanted` elements, `scale` apart."""

    axis: int
    size: int
    wanted: int
    scale: float
    region: tuple[float, float]


@operation("Resize", "Upsample")
def resize(call: Call) -> Tensor:
    x, rule = call.tensor(0), rule_of(call)
    axes = axes_of(call, x)
    if all(axis.size == axis.wanted and axis.scale == 1 for axis in axes) and (
        rule.coordinates != "tf_crop_and_resize"
    ):
        return x
    native = _native(x, rule, axes)
    if native is not None:
        return native
    for axis in axes:
        at, outside = places(rule, axis)
        if rule.mode == "nearest":
            index = nearest(at, rule.nearest, axis)
            x = torch.index_select(x, axis.axis, call.made(f"places_{axis.axis}", index))
        else:
            matrix = weights(at, rule, axis).astype(np.float32)
            kept = call.made(f"weights_{axis.axis}", matrix.T).to(x.dtype)
            x = torch.matmul(x.movedim(axis.axis, -1), kept).movedim(-1, axis.axis)
        if outside.any():
            shape = [-1] + [1] * (x.ndim - 1 - axis.axis)
            mask = call.made(f"outside_{axis.axis}", outside.reshape(shape))
            x = torch.where(mask, torch.full_like(x, rule.fill), x)
    return x


def rule_of(call: Call) -> Rule:
    old = call.opset < 11
    mode = call.attribute("mode", "nearest")
    return Rule(
        "linear" if mode == "bilinear" else mode,
        "asymmetric" if old else call.attribute("coordinate_transformation_mode", "half_pixel"),
        "simple" if old else call.attribute("nearest_mode", "round_prefer_floor"),
        call.attribute("cubic_coeff_a", -0.75),
        bool(call.attribute("exclude_outside", 0)),
        bool(call.attribute("antialias", 0)),
        call.attribute("extrapolation_value", 0.0),
    )


def axes_of(call: Call, x: Tensor) -> list[Axis]:
    """The axes whose size or region changes."""
    old = call.opset < 11
    at_scales, listed = (1, None) if old else (2, call.attribute("axes"))
    axes = [axis % x.ndim for axis in listed] if listed else list(range(x.ndim))
    region = _numbers(call, 1) if not old else []
    given = _numbers(call, at_scales) or call.attribute("scales") or []
    wanted = call.ints(3) if not old and call.has(3) else []
    if wanted:
        scales, wanted = _of_sizes(call, [x.shape[axis] for axis in axes], wanted)
    else:
        scales = [float(scale) for scale in given]
        wanted = [
            x.shape[axis]
            if scale == 1
            else math.floor(np.float32(scale) * np.float32(x.shape[axis]))
            for axis, scale in zip(axes, scales, strict=True)
        ]
    found = []
    crops = call.attribute("coordinate_transformation_mode") == "tf_crop_and_resize"
    for place, axis in enumerate(axes):
        part = (0.0, 1.0)
        if crops and region:
            part = (region[place], region[place + len(axes)])
        if scales[place] != 1 or part != (0.0, 1.0):
            found.append(Axis(axis, int(x.shape[axis]), int(wanted[place]), scales[place], part))
    return found


def _numbers(call: Call, index: int) -> list[Any]:
    return flat(call.host(index)) if call.has(index) else []


def _of_sizes(call: Call, sizes: list[Any], wanted: list[Any]) -> tuple[list[Any], list[Any]]:
    """Scales, and sizes once the aspect ratio is kept."""
    policy = call.attribute("keep_aspect_ratio_policy", "stretch")
    same = [a is b or bool(a == b) for a, b in zip(sizes, wanted, strict=True)]
    scales = [1.0 if s else b / a for a, b, s in zip(sizes, wanted, same, strict=True)]
    if policy == "stretch":
        return scales, wanted
    scale = min(scales) if policy == "not_larger" else max(scales)
    return [scale] * len(sizes), [math.floor(scale * size + 0.5) for size in sizes]


def places(rule: Rule, axis: Axis) -> tuple[np.ndarray, np.ndarray]:
    """Where each output element lies on the input's axis, and which of them lie outside."""
    at, width = np.arange(axis.wanted, dtype=np.float64), axis.scale * axis.size
    outside = np.zeros(axis.wanted, dtype=bool)
    last, kind = axis.size - 1, rule.coordinates
    if kind == "align_corners":
        found = np.zeros_like(at) if width == 1 else at * last / (width - 1)
    elif kind == "asymmetric":
        found = at / axis.scale
    elif kind == "tf_crop_and_resize":
        start, end = axis.region
        step = (end - start) * last
        found = start * last + (at * step / (width - 1) if width != 1 else at * 0 + step / 2)
        outside = (found < 0) | (found > last)
    elif kind == "pytorch_half_pixel" and width == 1:
        found = np.full_like(at, -0.5)
    else:
        found = (at + 0.5) / axis.scale - 0.5
        if kind == "half_pixel_symmetric":
            found = found + axis.size / 2 * (1 - axis.wanted / width)
    return found, outside


def nearest(at: np.ndarray, how: str, axis: Axis) -> Any:
    """The element that stands for each coordinate."""
    if how == "simple":  # before opset 11
        how = "ceil" if axis.scale < 1 else "floor"
    rounded = {
        "round_prefer_floor": lambda: np.ceil(at - 0.5),
        "round_prefer_ceil": lambda: np.floor(at + 0.5),
        "floor": lambda: np.floor(at),
        "ceil": lambda: np.ceil(at),
    }[how]()
    return rounded.clip(0, axis.size - 1).astype(np.int64)


def weights(at: np.ndarray, rule: Rule, axis: Axis) -> np.ndarray:
    """[wanted, size]: how much of each input element is in each output element."""
    shrink = min(axis.scale, 1.0) if rule.antialias else 1.0
    reach = math.ceil((2 if rule.mode == "cubic" else 1) / shrink)
    first = np.floor(at).astype(np.int64)
    found = np.zeros((axis.wanted, axis.size))
    rows = np.arange(axis.wanted)
    for shift in range(-reach, reach + 2):
        index = first + shift
        share = kernel((index - at) * shrink, rule)
        if rule.outside:
            share = np.where((index < 0) | (index >= axis.size), 0.0, share)
        np.add.at(found, (rows, index.clip(0, axis.size - 1)), share)
    if rule.outside or rule.antialias:
        found /= found.sum(1, keepdims=True)
    return found


def kernel(distance: np.ndarray, rule: Rule) -> Any:
    """Triangle, or the cubic of Keys (1981)."""
    d, a = np.abs(distance), rule.cubic
    if rule.mode == "linear":
        return np.clip(1 - d, 0, None)
    near = (a + 2) * d**3 - (a + 3) * d**2 + 1
    far = a * d**3 - 5 * a * d**2 + 8 * a * d - 4 * a
    return np.where(d <= 1, near, np.where(d < 2, far, 0.0))


def _native(x: Tensor, rule: Rule, axes: list[Axis]) -> Tensor | None:
    """By PyTorch, where it has the same weights; None where it has not."""
    inner = x.ndim - 2
    if inner not in (1, 2, 3) or any(axis.axis < 2 for axis in axes):
        return None
    by_axis = {axis.axis: axis for axis in axes}
    size = [by_axis[a].wanted if a in by_axis else int(x.shape[a]) for a in range(2, x.ndim)]
    if rule.mode == "nearest":
        if any(places(rule, axis)[1].any() for axis in axes):
            return None
        for axis in axes:
            usual = np.arange(axis.wanted) * axis.size // axis.wanted
            whole = axis.wanted % axis.size == 0
            if not whole or (nearest(places(rule, axis)[0], rule.nearest, axis) != usual).any():
                return None
        return F.interpolate(x, size=size, mode="nearest")
    exact = all(abs(a.scale - a.wanted / a.size) < 1e-6 * a.scale for a in axes)
    corners = rule.coordinates == "align_corners"
    half = rule.coordinates in ("half_pixel", "pytorch_half_pixel", "half_pixel_symmetric")
    if not exact or not (corners or half) or rule.antialias or rule.outside:
        return None
    if rule.coordinates == "pytorch_half_pixel" and 1 in size:
        return None
    if rule.mode == "linear":
        mode = {1: "linear", 2: "bilinear", 3: "trilinear"}[inner]
        return F.interpolate(x, size=size, mode=mode, align_corners=corners)
    if rule.mode == "cubic" and inner == 2 and rule.cubic == -0.75:
        return F.interpolate(x, size=size, mode="bicubic", align_corners=corners)
    return None


@operation("GridSample")
def grid_sample(call: Call) -> Tensor:
    x, grid = call.tensor(0), call.tensor(1)
    mode = {"linear": "bilinear", "cubic": "bicubic"}.get(call.attribute("mode", "linear"))
    mode = mode or call.attribute("mode")
    return F.grid_sample(
        x, grid, mode, call.attribute("padding_mode", "zeros"),
        bool(call.attribute("align_corners", 0)),
    )  # fmt: skip


@operation("AffineGrid")
def affine_grid(call: Call) -> Tensor:
    sizes = call.ints(1)
    return F.affine_grid(call.tensor(0), sizes, bool(call.attribute("align_corners", 0)))
