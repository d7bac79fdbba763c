"""What an ONNX file says of itself, in words."""

from __future__ import annotations

from collections import Counter
from math import prod
from pathlib import Path
from typing import Any

import onnx_ir as ir

from snnconvert.conversion.capture.onnx.build import every_node, needed, operation_name
from snnconvert.conversion.capture.onnx.file import opened
from snnconvert.conversion.capture.onnx.operations import OPERATIONS


def onnx_facts(path: str | Path) -> dict[str, Any]:
    """Opset, exporter, inputs, outputs, weights, operations and which of them are not known.

    Raises:
        CheckpointError, UnsupportedOpError: as `read_onnx`, for a file that cannot be opened.
    """
    model = opened(Path(path))
    graph = model.graph
    nodes = every_node(needed(graph, graph.outputs))
    counts = Counter(map(operation_name, nodes))
    weights = sum(
        prod(value.shape.numpy())
        for value in graph.initializers.values() if value.shape is not None
    )  # fmt: skip
    opset = model.opset_imports.get("", model.opset_imports.get("ai.onnx"))
    producer = " ".join(filter(None, (model.producer_name, model.producer_version)))
    held = set(graph.initializers.values())
    return {
        "file": str(path), "opset": opset, "producer": producer or None,
        "inputs": [shaped(value) for value in graph.inputs if value not in held],
        "outputs": [shaped(value) for value in graph.outputs],
        "weights": weights, "operations": dict(counts.most_common()),
        "unknown": [name for name, _ in counts.most_common() if name not in OPERATIONS],
    }  # fmt: skip


def describe_onnx(facts: dict[str, Any]) -> str:
    """Several lines of `onnx_facts`."""
    counts, producer = facts["operations"], facts["producer"] or "an unnamed exporter"
    lines = [f"{facts['file']}: ONNX, opset {facts['opset']}, written by {producer}"]
    lines += [f"  input {value}" for value in facts["inputs"]]
    lines += [f"  output {value}" for value in facts["outputs"]]
    lines.append(f"  {facts['weights']:,} weights, {sum(counts.values())} operations:")
    lines += [
        f"    {count} {name}{' (not known)' if name in facts['unknown'] else ''}"
        for name, count in counts.items()
    ]
    return "\n".join(lines)


def shaped(value: ir.Value) -> str:
    """ "x [N, 3, 32, 32] FLOAT"."""
    shape = "of unknown shape" if value.shape is None else (
        f"[{', '.join(str(size) for size in value.shape)}]"
    )  # fmt: skip
    return f"{value.name} {shape} {value.dtype or ''}".rstrip()
