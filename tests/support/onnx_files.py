"""Small ONNX files, written out or exported."""

from __future__ import annotations

import contextlib
import io
import random
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import torch
from onnx import numpy_helper, parser
from torch import nn

HEAD = '<ir_version: 8, opset_import: ["" : {opset}]>\n'
SMALL_CNN = """g (float[N,3,8,8] x) => (float[N,10] y) {
    c = Conv<pads=[1,1,1,1]>(x, w, b)
    r = Relu(c)
    p = MaxPool<kernel_shape=[2,2], strides=[2,2]>(r)
    s = Shape(p)
    zero = Constant<value_ints=[0]>()
    n = Gather(s, zero)
    rest = Constant<value_ints=[-1]>()
    to = Concat<axis=0>(n, rest)
    f = Reshape(p, to)
    y = Gemm<transB=1>(f, fw, fb)
}"""
SMALL_WEIGHTS = {"w": (4, 3, 3, 3), "b": (4,), "fw": (10, 64), "fb": (10,)}

DETECTOR = """g (float[1,3,8,8] x) => (int64[K,3] kept, int64[M,3] more, float[1,16,4] boxes) {
    c = Conv<strides=[2,2], kernel_shape=[2,2]>(x, w)  r = Relu(c)
    b = Conv(r, wb)  flat = Reshape(b, as_boxes)  boxes = Transpose<perm=[0,2,1]>(flat)
    s = Conv(r, ws)  rows = Reshape(s, as_scores)  scores = Sigmoid(rows)
    one = Slice(scores, zero, first, axis)  two = Slice(scores, first, second, axis)
    kept = NonMaxSuppression(boxes, one, most, overlap, least)
    more = NonMaxSuppression(boxes, two, most, overlap, least)
}"""
DETECTOR_WEIGHTS = {
    "w": (6, 3, 2, 2), "wb": (4, 6, 1, 1), "ws": (2, 6, 1, 1), "as_boxes": np.array([1, 4, 16]),
    "as_scores": np.array([1, 2, 16]), "zero": np.array([0]), "first": np.array([1]),
    "second": np.array([2]), "axis": np.array([1]), "most": np.array(5),
    "overlap": np.float32(0.5), "least": np.float32(0.1),
}  # fmt: skip


def model_of(text: str, opset: int = 13, **constants: Any) -> onnx.ModelProto:
    """A model in ONNX's own notation, with its initializers: arrays, or shapes to fill."""
    model = parser.parse_model(HEAD.format(opset=opset) + text)
    drawn = np.random.default_rng(0)
    for name, value in constants.items():
        array = value
        if isinstance(value, tuple):
            array = (drawn.standard_normal(value) * 0.3).astype(np.float32)
        model.graph.initializer.append(numpy_helper.from_array(np.asarray(array), name))
    return model


def small_cnn() -> onnx.ModelProto:
    return model_of(SMALL_CNN, **SMALL_WEIGHTS)


def detector() -> onnx.ModelProto:
    """Boxes and scores, and which boxes of two classes stay."""
    return model_of(DETECTOR, **DETECTOR_WEIGHTS)


def written(model: onnx.ModelProto, folder: Path, name: str = "net.onnx") -> Path:
    path = folder / name
    onnx.save(model, path)
    return path


def exported(
    model: nn.Module, inputs: tuple[torch.Tensor, ...], path: Path, dynamo: bool,
    opset: int | None = None,
) -> Path:  # fmt: skip
    """`model`, written by one of PyTorch's exporters with a dynamic batch."""
    names = [f"x{i}" for i in range(len(inputs))]
    silent = contextlib.redirect_stdout(io.StringIO()), contextlib.redirect_stderr(io.StringIO())
    with silent[0], silent[1]:
        if dynamo:
            shapes = tuple({0: torch.export.Dim.DYNAMIC} for _ in inputs)
            torch.onnx.export(
                model.eval(), inputs, path, dynamo=True, dynamic_shapes=shapes, verbose=False,
                input_names=names, opset_version=opset,
            )  # fmt: skip
        else:
            torch.onnx.export(
                model.eval(), inputs, path, dynamo=False, opset_version=opset,
                input_names=names, dynamic_axes={name: {0: "N"} for name in names},
            )  # fmt: skip
    return path


def relative(found: torch.Tensor, wanted: torch.Tensor) -> float:
    """Distance over size."""
    return float((found - wanted).norm() / wanted.norm())


def mutated(content: bytes, draw: random.Random) -> bytes:
    """A file with bytes changed, cut out, doubled or cut off."""
    data = bytearray(content)
    for _ in range(draw.choice((1, 1, 2, 4, 16))):
        at = draw.randrange(len(data))
        kind = draw.randrange(5)
        if kind <= 1:
            data[at] = draw.randrange(256)
        elif kind == 2:
            data[at] ^= 1 << draw.randrange(8)
        elif kind == 3:
            del data[at : at + draw.randrange(1, 20)]
        else:
            data[at:at] = data[at : at + draw.randrange(1, 20)]
        if len(data) < 2:
            break
    return bytes(data[: draw.randrange(len(data))] if draw.random() < 0.05 else data)
