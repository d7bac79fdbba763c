"""Boxes: which of them stay, and what lies inside."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import torch
from torch import Tensor

from snnconvert.conversion.capture.onnx.steps.call import SYMBOLIC, Call, flat
from snnconvert.conversion.capture.onnx.steps.registry import operation


@operation("NonMaxSuppression")
def non_max_suppression(call: Call) -> np.ndarray:
    """[kept, 3]: batch, class, box. Boxes [B, N, 4] and scores [B, C, N] must be known."""
    boxes, scores = call.host(0), call.host(1)
    most = int(flat(call.host(2))[0]) if call.has(2) else 0
    overlap, least = (
        float(flat(call.host(index))[0]) if call.has(index) else usual
        for index, usual in ((3, 0.0), (4, -math.inf))
    )
    corners = corners_of(boxes, bool(call.attribute("center_point_box", 0)))
    found = [
        (batch, kind, box)
        for batch, kind in np.ndindex(*scores.shape[:2])
        for box in kept_of(corners[batch], scores[batch, kind], most, overlap, least)
    ]
    return np.array(found, dtype=np.int64).reshape(-1, 3)


def corners_of(boxes: np.ndarray, by_centre: bool) -> Any:
    """Lower and upper corner of each box."""
    first, second = boxes[..., :2], boxes[..., 2:]
    if by_centre:
        return np.concatenate([first - second / 2, first + second / 2], -1)
    return np.concatenate([np.minimum(first, second), np.maximum(first, second)], -1)


def kept_of(
    corners: np.ndarray, scores: np.ndarray, most: int, overlap: float, least: float
) -> list[int]:
    """The boxes that overlap no better one, best first."""
    kept: list[int] = []
    for box in np.argsort(-scores, kind="stable"):
        if len(kept) >= most or scores[box] <= least:
            break
        if all(shared(corners[box], corners[other]) <= overlap for other in kept):
            kept.append(int(box))
    return kept


def shared(a: np.ndarray, b: np.ndarray) -> float:
    """Area that two boxes share, over the area of both together."""
    sides = np.minimum(a[2:], b[2:]) - np.maximum(a[:2], b[:2])
    inside = float(np.prod(sides.clip(0)))
    total = float(np.prod(a[2:] - a[:2]) + np.prod(b[2:] - b[:2])) - inside
    return inside / total if total > 0 else 0.0


@operation("RoiAlign")
def roi_align(call: Call) -> Tensor:
    """Each region cut into bins; of each, the mean or the largest of samples between pixels."""
    x, rois, batch = call.tensor(0), call.tensor(1), call.tensor(2).to(torch.int64)
    rows, columns = call.attribute("output_height", 1), call.attribute("output_width", 1)
    samples, largest = call.attribute("sampling_ratio", 0), call.attribute("mode", "avg") == "max"
    mode = call.attribute("coordinate_transformation_mode", "half_pixel")
    centred = mode == "half_pixel" and call.opset >= 16
    places = rois * call.attribute("spatial_scale", 1.0) - (0.5 if centred else 0.0)
    sizes = places[:, 2:] - places[:, :2]
    sizes = sizes if centred else sizes.clamp(min=1.0)
    if not samples:
        return _each_as_wanted(call, x, batch, (places, sizes), (rows, columns), largest)
    return _aligned(x, batch, (places, sizes), (rows, columns), (samples, samples), largest)


def _each_as_wanted(
    call: Call, x: Tensor, batch: Tensor, where: tuple[Tensor, Tensor], bins: tuple[int, int],
    largest: bool,
) -> Tensor:  # fmt: skip
    """As many samples a bin as it is pixels wide: the regions themselves must be known."""
    call.host(1)
    found = []
    for index in range(len(batch)):
        own = slice(index, index + 1)
        width, height = (float(size) for size in where[1][index])
        samples = math.ceil(height / bins[0]), math.ceil(width / bins[1])
        found.append(
            _aligned(x, batch[own], (where[0][own], where[1][own]), bins,
                     (max(samples[0], 1), max(samples[1], 1)), largest)
        )  # fmt: skip
    return torch.cat(found) if found else x.new_zeros([0, x.shape[1], *bins])


def _aligned(
    x: Tensor, batch: Tensor, where: tuple[Tensor, Tensor], bins: tuple[int, int],
    samples: tuple[int, int], largest: bool,
) -> Tensor:  # fmt: skip
    """[R, C, rows, columns] of R regions."""
    places, sizes = where
    down = _samples(places[:, 1], sizes[:, 1], bins[0], samples[0])
    right = _samples(places[:, 0], sizes[:, 0], bins[1], samples[1])
    corners = []
    (y0, y1, fy), (x0, x1, fx) = _between(down, x.shape[2]), _between(right, x.shape[3])
    of_rows = batch.reshape(-1, 1, 1)
    for y, share_y in ((y0, 1 - fy), (y1, fy)):
        for column, share_x in ((x0, 1 - fx), (x1, fx)):
            values = x.permute(0, 2, 3, 1)[of_rows, y.unsqueeze(2), column.unsqueeze(1)]
            corners.append(values * (share_y.unsqueeze(2) * share_x.unsqueeze(1)).unsqueeze(-1))
    outside = _outside(down, x.shape[2]).unsqueeze(2) | _outside(right, x.shape[3]).unsqueeze(1)
    if largest:  # of the four corners of every sample, as onnxruntime has it
        found = torch.stack(corners).amax(0)
    else:
        found = corners[0] + corners[1] + corners[2] + corners[3]
    found = torch.where(outside.unsqueeze(-1), torch.zeros_like(found), found)
    found = found.unflatten(2, (bins[1], samples[1])).unflatten(1, (bins[0], samples[0]))
    whole: Tensor = found.amax((2, 4)) if largest else found.mean((2, 4))
    return whole.permute(0, 3, 1, 2)


def _samples(start: Tensor, size: Tensor, bins: int, samples: int) -> Tensor:
    """[R, bins * samples]: where the samples of each region lie on an axis."""
    steps = (torch.arange(bins * samples, dtype=start.dtype) + 0.5) / samples
    return start.unsqueeze(1) + steps * (size / bins).unsqueeze(1)


def _outside(at: Tensor, size: Any) -> Tensor:
    found: Tensor = (at < -1) | (at > size)
    return found


def _between(at: Tensor, size: Any) -> tuple[Tensor, Tensor, Tensor]:
    """The pixels on both sides of each place, and how far it is from the first."""
    at = at.clamp(0, size - 1)
    first = at.floor().to(torch.int64)
    return first, (first + 1).clamp(max=size - 1), at - first.to(at.dtype)


@operation("MaxRoiPool")
def max_roi_pool(call: Call) -> Tensor:
    """The largest pixel of each bin of each region [batch, left, top, right, bottom]."""
    x, rois = call.tensor(0), call.host(1)
    scale, bins = call.attribute("spatial_scale", 1.0), call.attribute("pooled_shape")
    found = []
    for roi in rois:
        left, top, right, bottom = (math.floor(float(v) * scale + 0.5) for v in roi[1:])
        plane = x[int(roi[0])]
        rows = _bins(top, bottom, bins[0], plane.shape[1])
        columns = _bins(left, right, bins[1], plane.shape[2])
        found.append(
            torch.stack([
                torch.stack([_largest(plane, row, column) for column in columns], 1)
                for row in rows
            ], 1)
        )  # fmt: skip
    return torch.stack(found) if found else x.new_zeros([0, x.shape[1], *bins])


def _bins(first: int, last: int, bins: int, size: Any) -> list[slice]:
    each = max(last - first + 1, 1) / bins
    edges = [(math.floor(i * each), math.ceil((i + 1) * each)) for i in range(bins)]
    return [
        slice(min(max(a + first, 0), size), min(max(b + first, 0), size)) for a, b in edges
    ]  # fmt: skip


def _largest(plane: Tensor, rows: slice, columns: slice) -> Tensor:
    part = plane[:, rows, columns].flatten(1)
    return part.amax(1) if part.shape[1] else plane.new_zeros(plane.shape[0])


@operation("Col2Im")
def col2im(call: Call) -> Tensor:
    """Adds up blocks [N, C * kernel, L] where they overlap; any number of spatial axes."""
    x, image, kernel = call.tensor(0), call.ints(1), call.ints(2)
    axes = len(image)
    stride, dilation = (call.attribute(n) or [1] * axes for n in ("strides", "dilations"))
    pads = call.attribute("pads") or [0] * 2 * axes
    if any(isinstance(size, SYMBOLIC) for size in (*image, *kernel)):
        call.refuse("its sizes are not fixed", "export the network with fixed shapes")
    padded = [image[a] + pads[a] + pads[a + axes] for a in range(axes)]
    windows = [
        (padded[a] - dilation[a] * (kernel[a] - 1) - 1) // stride[a] + 1 for a in range(axes)
    ]
    places = np.zeros([1] * 2 * axes, dtype=np.int64)
    for axis in range(axes):
        inner = np.arange(kernel[axis]) * dilation[axis]
        outer = np.arange(windows[axis]) * stride[axis]
        shape = [1] * 2 * axes
        shape[axis], shape[axes + axis] = kernel[axis], windows[axis]
        own = (inner[:, None] + outer[None]).reshape(shape)
        places = places * padded[axis] + own
    flat_places = call.made("places", places.reshape(-1))
    values = x.unflatten(1, (-1, math.prod(kernel))).flatten(2)
    sums = values.new_zeros([*values.shape[:2], math.prod(padded)])
    whole: Tensor = sums.index_add(2, flat_places, values).unflatten(2, padded)
    cut = tuple(slice(pads[a], pads[a] + image[a]) for a in range(axes))
    return whole[(slice(None), slice(None), *cut)]
