"""What an ONNX file says of itself, in words."""

from __future__ import annotations

from collections import Counter
from math import prod
from pathlib import Path

import onnx_ir as ir

from snnconvert.conversion.capture.onnx.build import every_node, needed, operation_name
from snnconvert.conversion.capture.onnx.file import opened
from snnconvert.conversion.capture.onnx.operations import OPERATIONS


def describe_onnx(path: str | Path) -> str:
    """Several lines: opset, exporter, inputs, outputs, weights, operations.

    Raises:
        CheckpointError, UnsupportedOpError: as `read_onnx`, for a file that cannot be opened.
    """
    model = opened(Path(path))
    graph = model.graph
    nodes = list(every_node(needed(graph, graph.outputs)))
    counts = Counter(map(operation_name, nodes))
    weights = sum(
        prod(value.shape.numpy())
        for value in graph.initializers.values() if value.shape is not None
    )  # fmt: skip
    opset = model.opset_imports.get("", model.opset_imports.get("ai.onnx"))
    producer = " ".join(filter(None, (model.producer_name, model.producer_version)))
    held = set(graph.initializers.values())
    lines = [f"{path}: ONNX, opset {opset}, written by {producer or 'an unnamed exporter'}"]
    lines += [f"  input {shaped(value)}" for value in graph.inputs if value not in held]
    lines += [f"  output {shaped(value)}" for value in graph.outputs]
    lines.append(f"  {weights:,} weights, {len(nodes)} operations:")
    lines += [
        f"    {count} {name}{'' if name in OPERATIONS else ' (not known)'}"
        for name, count in counts.most_common()
    ]
    return "\n".join(lines)


def shaped(value: ir.Value) -> str:
    """ "x [N, 3, 32, 32] FLOAT"."""
    shape = "of unknown shape" if value.shape is None else (
        f"[{', '.join(str(size) for size in value.shape)}]"
    )  # fmt: skip
    return f"{value.name} {shape} {value.dtype or ''}".rstrip()
