"""Pad, in every mode."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from snnconvert.conversion.capture.onnx.steps.call import LARGEST_HOST, Call, flat
from snnconvert.conversion.capture.onnx.steps.registry import operation
from snnconvert.conversion.capture.onnx.steps.windows import Pads, torch_pads

NAMES = {"edge": "replicate", "reflect": "reflect"}


def pads_of(call: Call, rank: int) -> Pads:
    """Before and behind, for every axis."""
    amounts = call.axes(1, "pads")
    if amounts is None:
        amounts = list(call.attribute("paddings", []))
    axes = call.ints(3) if call.has(3) else list(range(rank))
    found: Pads = [(0, 0)] * rank
    for place, axis in enumerate(axes):
        found[axis] = (amounts[place], amounts[place + len(axes)])
    return found


def pad_host(call: Call) -> Any:
    if call.attribute("mode", "constant") != "constant":
        return pad(call)
    array = call.host(0)
    pads = pads_of(call, array.ndim)
    after = [size + sum(pair) for size, pair in zip(array.shape, pads, strict=True)]
    if any(min(pair) < 0 for pair in pads) or math.prod(after) > LARGEST_HOST:
        return pad(call)
    return np.pad(array, pads, constant_values=fill_of(call, 2))


def fill_of(call: Call, index: int) -> Any:
    if call.has(index) and call.host(index).size:
        return flat(call.host(index))[0]
    return call.attribute("value", 0)


@operation("Pad", host=pad_host)
def pad(call: Call) -> Tensor:
    x, mode = call.tensor(0), call.attribute("mode", "constant")
    pads = pads_of(call, x.ndim)
    if mode == "constant":
        first = next((axis for axis, pair in enumerate(pads) if pair != (0, 0)), x.ndim)
        return F.pad(x, torch_pads(pads[first:]), value=fill_of(call, 2)) if first < x.ndim else x
    padded = [axis for axis, pair in enumerate(pads) if pair != (0, 0)]
    usual = x.ndim in (3, 4) and padded and padded[0] >= 2 and mode in NAMES and (
        x.is_floating_point() and min(min(pads[axis]) for axis in padded) >= 0
    )  # fmt: skip
    if usual:
        fits = all(max(pads[axis]) < x.shape[axis] for axis in padded)
        if mode == "edge" or fits:
            return F.pad(x, torch_pads(pads[2:]), mode=NAMES[mode])
    for axis in padded:
        places = places_of(x.shape[axis], *pads[axis], mode)
        x = torch.index_select(x, axis, call.made(f"places_{axis}", places))
    return x


def places_of(size: int, before: int, behind: int, mode: str) -> np.ndarray:
    """Which element of an axis each one of the padded axis is."""
    at = np.arange(-before, size + behind)
    if mode == "edge":
        return at.clip(0, size - 1)
    if mode == "wrap":
        return at % size
    period = max(2 * (size - 1), 1)
    at = at % period
    return np.where(at < size, at, period - at)


@operation("CenterCropPad")
def center_crop_pad(call: Call) -> Tensor:
    x, wanted = call.tensor(0), call.ints(1)
    axes = call.attribute("axes") or list(range(x.ndim))
    pads: Pads = [(0, 0)] * x.ndim
    for axis, size in zip(axes, wanted, strict=True):
        more = size - x.shape[axis]
        before = more // 2 if more >= 0 else -(-more // 2)
        pads[axis] = (before, more - before)
    return F.pad(x, torch_pads(pads))
