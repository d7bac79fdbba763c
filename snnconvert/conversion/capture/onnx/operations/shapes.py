"""Shapes and what is worked out from them, and operations that rearrange."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import torch
from torch import Tensor

from snnconvert.conversion.capture.onnx.steps.batch import freed, is_one, repeated
from snnconvert.conversion.capture.onnx.steps.call import (
    LARGEST_HOST,
    SYMBOLIC,
    Call,
    Value,
    flat,
    host_array,
)
from snnconvert.conversion.capture.onnx.steps.registry import operation
from snnconvert.conversion.capture.onnx.steps.types import NUMPY_TYPES, TORCH_TYPES


def same(call: Call) -> Value:
    return call.value(0)


@operation("Identity", host=same)
def identity(call: Call) -> Value:
    return call.value(0)


@operation("Dropout")
def dropout(call: Call) -> tuple[Value, ...]:
    x = call.tensor(0)
    if call.has(2) and bool(call.host(2)):
        ratio = float(call.host(1)) if call.has(1) else 0.5
        if ratio != 0:
            call.refuse("drops at random (training_mode)", "export in evaluation mode")
    return x, torch.ones_like(x, dtype=torch.bool)


def shape_of(call: Call) -> Value:
    found = list(call.value(0).shape)
    start, end = call.attribute("start", 0), call.attribute("end")
    return host_array(found[start:end])


operation("Shape", host=shape_of)(shape_of)


def size_of(call: Call) -> Value:
    return host_array([math.prod(call.value(0).shape)], ())


operation("Size", host=size_of)(size_of)


def constant(call: Call) -> Value:
    """Its value is one of several attributes."""
    found = call.node.attributes
    for name in ("value", "value_float", "value_floats", "value_int", "value_ints"):
        if name in found:
            dtype = np.float32 if "float" in name else np.int64
            value = found[name]
            return value if isinstance(value, np.ndarray) else np.array(value, dtype=dtype)
    call.refuse("is no tensor of numbers", "replace it")


operation("Constant", host=constant)(constant)


def cast_host(call: Call) -> Value:
    array, dtype = call.host(0), _type(call)
    if not array.dtype.hasobject:
        with np.errstate(invalid="ignore", over="ignore"):
            return array.astype(NUMPY_TYPES[dtype])
    change = torch.sym_float if dtype.is_floating_point else torch.sym_int
    items = [change(item) if isinstance(item, SYMBOLIC) else item for item in flat(array)]
    return host_array(items, array.shape, NUMPY_TYPES[dtype])


def _type(call: Call) -> torch.dtype:
    if call.node.op == "CastLike":
        like = call.value(1)
        return like.dtype if isinstance(like, Tensor) else torch.from_numpy(like).dtype
    code = call.attribute("to")
    if code not in TORCH_TYPES:
        call.refuse(f"to the type {code} is not known", "replace it")
    return TORCH_TYPES[code]


@operation("Cast", "CastLike", host=cast_host)
def cast(call: Call) -> Tensor:
    return call.tensor(0).to(_type(call))


def constant_of_shape(call: Call) -> Value:
    shape = call.ints(0)
    fill = call.attribute("value")
    fill = np.zeros(1, np.float32) if fill is None else fill
    whole = not any(isinstance(size, SYMBOLIC) for size in shape)
    if whole and math.prod(shape) <= LARGEST_HOST:
        return np.full(shape, flat(fill)[0], dtype=fill.dtype)
    return torch.full(shape, flat(fill)[0], dtype=torch.from_numpy(fill).dtype)


operation("ConstantOfShape", host=constant_of_shape)(constant_of_shape)


def arange(call: Call) -> Any:
    start, limit, step = (flat(call.host(index))[0] for index in range(3))
    dtype = call.host(0).dtype
    symbolic = any(isinstance(item, SYMBOLIC) for item in (start, limit, step))
    if step == 0:
        call.refuse("has a step of zero", "repair the file")
    if not symbolic and (limit - start) / step <= LARGEST_HOST:
        count = max(math.ceil((limit - start) / step), 0)
        return (np.arange(count) * step + start).astype(dtype)
    kind = torch.int64 if dtype.hasobject else torch.from_numpy(np.zeros(1, dtype)).dtype
    return torch.arange(start, limit, step, dtype=kind)


operation("Range", host=arange)(arange)


def new_shape(call: Call, sizes: Any) -> list[Any]:
    """What Reshape makes of `sizes`: 0 stands for the size that there is, -1 for the rest."""
    wanted = call.ints(1) if call.has(1) else list(call.attribute("shape"))
    if not call.attribute("allowzero", 0):
        wanted = [
            sizes[i] if not isinstance(size, SYMBOLIC) and size == 0 else size
            for i, size in enumerate(wanted)
        ]
    return wanted


def reshape_host(call: Call) -> Value:
    array = call.host(0)
    return array.reshape(new_shape(call, array.shape))


@operation("Reshape", host=reshape_host)
def reshape(call: Call) -> Tensor:
    x = call.tensor(0)
    return x.reshape(freed(call, x, new_shape(call, x.shape)))


@operation("Flatten")
def flatten(call: Call) -> Tensor:
    x, axis = call.tensor(0), call.attribute("axis", 1)
    axis = axis + x.ndim if axis < 0 else axis
    if axis == 0:
        return x.reshape(1, -1)
    if axis == 1 and x.ndim > 1:
        return x.flatten(1)
    inner = math.prod(x.shape[axis:])
    return x.reshape(-1, inner) if inner else x.reshape(math.prod(x.shape[:axis]), inner)


def squeeze_host(call: Call) -> Value:
    array, axes = call.host(0), call.axes(1)
    return np.squeeze(array, tuple(axes) if axes is not None else None)


@operation("Squeeze", host=squeeze_host)
def squeeze(call: Call) -> Tensor:
    x, axes = call.tensor(0), call.axes(1)
    return x.squeeze() if axes is None else x.squeeze(axes)


def unsqueezed(call: Call, rank: int) -> list[int]:
    axes = call.axes(1) or []
    return sorted(axis + rank + len(axes) if axis < 0 else axis for axis in axes)


def unsqueeze_host(call: Call) -> Value:
    array = call.host(0)
    return np.expand_dims(array, tuple(unsqueezed(call, array.ndim)))


@operation("Unsqueeze", host=unsqueeze_host)
def unsqueeze(call: Call) -> Tensor:
    x = call.tensor(0)
    for axis in unsqueezed(call, x.ndim):
        x = x.unsqueeze(axis)
    return x


def transpose_host(call: Call) -> Value:
    return call.host(0).transpose(call.attribute("perm"))


@operation("Transpose", host=transpose_host)
def transpose(call: Call) -> Tensor:
    x = call.tensor(0)
    return x.permute(call.attribute("perm") or list(reversed(range(x.ndim))))


def concat_host(call: Call) -> Value:
    arrays = [call.host(index) for index in range(call.node.given)]
    return np.concatenate(arrays, call.attribute("axis", 1))


@operation("Concat", host=concat_host)
def concat(call: Call) -> Tensor:
    axis = call.attribute("axis", 1)
    tensors = call.tensors() if axis == 0 else repeated(call, call.tensors())
    return torch.cat(tensors, axis)


def pieces(call: Call, size: Any) -> list[Any]:
    """Sizes of the parts of Split."""
    given = call.axes(1, "split")
    if given is not None:
        return given
    count = call.attribute("num_outputs", len(call.node.outputs))
    each = -(-size // count)
    return [each] * (count - 1) + [size - each * (count - 1)]


def split_host(call: Call) -> Any:
    array, axis = call.host(0), call.attribute("axis", 0)
    ends = np.cumsum(pieces(call, array.shape[axis]))[:-1]
    return tuple(np.split(array, ends, axis))


@operation("Split", host=split_host)
def split(call: Call) -> Any:
    x, axis = call.tensor(0), call.attribute("axis", 0)
    return tuple(x.split(pieces(call, x.shape[axis]), axis))


def expand_host(call: Call) -> Any:
    array = call.host(0)
    shape = call.ints(1)
    if any(isinstance(s, SYMBOLIC) for s in shape) or math.prod(shape) > LARGEST_HOST:
        return expand(call)
    return np.broadcast_to(array, np.broadcast_shapes(array.shape, tuple(shape))).copy()


@operation("Expand", host=expand_host)
def expand(call: Call) -> Tensor:
    """Both ways: an axis of either that is one long becomes as long as the other's."""
    x, wanted = call.tensor(0), call.ints(1)
    rank = max(x.ndim, len(wanted))
    own = [1] * (rank - x.ndim) + list(x.shape)
    wanted = [1] * (rank - len(wanted)) + wanted
    return x.expand([b if is_one(a) else a for a, b in zip(own, wanted, strict=True)])


def tile_host(call: Call) -> Any:
    repeats = call.ints(1)
    if any(isinstance(s, SYMBOLIC) for s in repeats):
        return tile(call)
    if call.host(0).size * math.prod(repeats) > LARGEST_HOST:
        return tile(call)
    return np.tile(call.host(0), repeats)


@operation("Tile", host=tile_host)
def tile(call: Call) -> Tensor:
    return call.tensor(0).repeat(call.ints(1))


@operation("DepthToSpace")
def depth_to_space(call: Call) -> Tensor:
    x, block = call.tensor(0), call.attribute("blocksize")
    if call.attribute("mode", "DCR") == "CRD":
        return torch.pixel_shuffle(x, block)
    n, c, h, w = x.shape
    x = x.reshape(n, block, block, c // block**2, h, w).permute(0, 3, 4, 1, 5, 2)
    return x.reshape(n, c // block**2, h * block, w * block)


@operation("SpaceToDepth")
def space_to_depth(call: Call) -> Tensor:
    x, block = call.tensor(0), call.attribute("blocksize")
    n, c, h, w = x.shape
    if call.attribute("mode", "DCR") == "CRD":
        return torch.pixel_unshuffle(x, block)
    x = x.reshape(n, c, h // block, block, w // block, block).permute(0, 3, 5, 1, 2, 4)
    return x.reshape(n, c * block**2, h // block, w // block)


@operation("EyeLike")
def eye_like(call: Call) -> Any:
    x, shift = call.value(0), call.attribute("k", 0)
    code = call.attribute("dtype")
    dtype = TORCH_TYPES[code] if code else call.tensor(0).dtype
    rows, columns = x.shape
    found = torch.arange(rows).unsqueeze(1) + shift == torch.arange(columns).unsqueeze(0)
    return found.to(dtype)


@operation("Trilu")
def trilu(call: Call) -> Tensor:
    x, shift = call.tensor(0), call.ints(1)[0] if call.has(1) else 0
    return torch.triu(x, shift) if call.attribute("upper", 1) else torch.tril(x, shift)
