"""Programs as plain values, which is what a `.snn.pt` stores, and back."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor

from snnconvert.conversion.graph.program import Node, Program
from snnconvert.conversion.graph.signature import Signature
from snnconvert.conversion.graph.values import Outputs, Ref, references
from snnconvert.errors import CheckpointError, printable


def encode(value: Any) -> Any:
    """`value` as plain lists, dicts, numbers and strings. TypeError for anything else."""
    if value is None or isinstance(value, (bool, int, float, str)):
        return value
    if isinstance(value, Ref):
        return {"ref": value.name}
    if isinstance(value, (list, tuple)):
        kind = "list" if isinstance(value, list) else "tuple"
        return {kind: [encode(item) for item in value]}
    if isinstance(value, dict):
        kind = "outputs" if isinstance(value, Outputs) else "dict"
        return {kind: [[key, encode(item)] for key, item in value.items()]}
    if isinstance(value, (torch.dtype, torch.layout, torch.memory_format)):
        return {"torch": str(value).removeprefix("torch.")}
    if isinstance(value, torch.device):
        return {"device": value.type}  # wherever the inputs are: see `call_of`
    raise TypeError(f"{type(value).__name__} cannot be part of a program")


TORCH_CONSTANTS = {
    str(value).removeprefix("torch."): value
    for value in vars(torch).values()
    if isinstance(value, (torch.dtype, torch.layout, torch.memory_format))
}


def decode(value: Any) -> Any:
    """Inverse of `encode`. CheckpointError for a value that `encode` never writes."""
    if value is None or isinstance(value, (bool, int, float, str)):
        return value
    if isinstance(value, dict) and len(value) == 1:
        ((kind, content),) = value.items()
        if kind == "ref" and isinstance(content, str):
            return Ref(content)
        if kind in ("list", "tuple") and isinstance(content, list):
            items = [decode(item) for item in content]
            return items if kind == "list" else tuple(items)
        if kind == "dict" and isinstance(content, list):
            return {key: decode(item) for key, item in content}
        if kind == "outputs" and isinstance(content, list):
            return Outputs((str(key), decode(item)) for key, item in content)
        if kind == "device" and content in ("cpu", "cuda"):
            return torch.device(content)
        if kind == "torch" and content in TORCH_CONSTANTS:
            return TORCH_CONSTANTS[content]
    raise CheckpointError(f"program: found {value!r}, which no snnconvert wrote")


def encode_program(program: Program) -> dict[str, Any]:
    """Plain values from which `decode_program` rebuilds `program`."""
    rows = [[n.name, n.op, encode(n.args), encode(n.kwargs), n.layer] for n in program.nodes]
    content = {"inputs": list(program.inputs), "nodes": rows, "output": encode(program.output)}
    if program.signature is not None:
        content["signature"] = encode(program.signature.to_dict())
    return content


def decode_program(content: Any) -> Program:
    """Inverse of `encode_program`. CheckpointError if the content has another form."""
    try:
        nodes = tuple(
            Node(str(name), str(op), tuple(decode(args)), dict(decode(kwargs)), printable(layer))
            for name, op, args, kwargs, layer in content["nodes"]
        )
        signature = None
        if "signature" in content:
            signature = Signature.from_dict(decode(content["signature"]))
        inputs = tuple(map(str, content["inputs"]))
        return Program(inputs, nodes, decode(content["output"]), signature)
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        raise CheckpointError(f"program: is damaged ({error})") from error


def check_references(program: Program, constants: Mapping[str, Tensor]) -> None:
    """CheckpointError unless every node reads only inputs, constants and earlier nodes."""
    known = {*program.inputs, *constants}
    for node in program.nodes:
        missing = [name for name in node.refs if name not in known]
        if missing or node.name in known:
            wrong = f"reads {missing[0]!r}, which is not there" if missing else "is there twice"
            raise CheckpointError(f"program: is damaged: its node {node.name!r} {wrong}")
        known.add(node.name)
    for ref in references(program.output):
        if ref.name not in known:
            raise CheckpointError(f"program: is damaged: its output {ref.name!r} is not there")
