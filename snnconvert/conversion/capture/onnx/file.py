"""Opens an ONNX file: parsed, outer data found in its folder, functions laid open, sorted."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import onnx
import onnx_ir as ir
from google.protobuf.message import DecodeError
from onnx_ir.passes import common

from snnconvert.errors import CheckpointError, UnsupportedOpError

OLDEST, NEWEST = 7, 28  # opsets of the standard that the handlers are written for
LARGEST_FILE = 1 << 31  # bytes that protobuf can parse


def opened(path: Path) -> ir.Model:
    """The model in a file, its own functions inlined and its nodes sorted.

    Raises:
        CheckpointError: missing, damaged, cyclic, or with outer data that is not in its folder.
        UnsupportedOpError: an opset that is not known.
    """
    if not path.is_file():
        raise CheckpointError(f"{path}: no such file")
    if path.stat().st_size >= LARGEST_FILE:
        raise CheckpointError(f"{path}: is larger than 2 GiB; save its weights as external data")
    try:
        proto = onnx.load_model_from_string(path.read_bytes())
    except DecodeError as error:
        raise CheckpointError(f"{path}: is truncated, damaged or no ONNX file ({error})") from error
    if not proto.graph.node:
        raise CheckpointError(f"{path}: holds no operations, or is no ONNX file")
    for tensor in tensors_of(proto):
        check_outer(tensor, path.parent)
    model = ir.serde.deserialize_model(proto)
    check_opset(model, path)
    common.InlinePass()(model)
    try:
        model.graph.sort()
    except ValueError as error:
        raise CheckpointError(f"{path}: its operations form a circle ({error})") from error
    for graph in (model.graph, *model.graph.subgraphs()):
        ir.external_data.set_base_dir(graph, path.parent)
    return model


def check_opset(model: ir.Model, path: Path) -> None:
    opset = model.opset_imports.get("", model.opset_imports.get("ai.onnx"))
    if opset is None or not OLDEST <= opset <= NEWEST:
        found = "none of the standard" if opset is None else str(opset)
        raise UnsupportedOpError(
            f"{path}: its opset is {found}, known are {OLDEST} ... {NEWEST}; export it again for "
            "one of those (opset_version=18)"
        )


def tensors_of(message: Any) -> Iterator[onnx.TensorProto]:
    """Every tensor of a message, in attributes and subgraphs too."""
    if isinstance(message, onnx.TensorProto):
        yield message
        return
    for field, value in message.ListFields():
        if field.message_type is None:
            continue
        for item in [value] if hasattr(value, "ListFields") else value:
            if hasattr(item, "ListFields"):
                yield from tensors_of(item)


def check_outer(tensor: onnx.TensorProto, folder: Path) -> None:
    """CheckpointError where external data is missing, too short, or outside of the folder."""
    if tensor.data_location != onnx.TensorProto.EXTERNAL:
        return
    entries = {entry.key: entry.value for entry in tensor.external_data}
    location = entries.get("location", "")
    target = (folder / location).resolve()
    name = f"{tensor.name or 'a tensor'}: its data"
    if not location or not target.is_relative_to(folder.resolve()):
        raise CheckpointError(f"{name} would lie outside of the file's folder ({location!r})")
    if not target.is_file():
        raise CheckpointError(f"{name} is missing: {target}; keep it beside the ONNX file")
    try:
        first = int(entries.get("offset", 0))
        length = int(entries.get("length", 0))
    except ValueError:
        first = -1
        length = 0
    if first < 0 or length < 0 or first + length > target.stat().st_size:
        raise CheckpointError(f"{name} reaches beyond the end of {target}")
