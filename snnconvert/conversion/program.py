"""A captured network as data: operations by name, references, constants. No code inside.

This is what the simulators execute and what a `.snn.pt` stores.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor

from snnconvert.conversion.signature import BATCH, Outputs, Ref, Signature, rebuilt
from snnconvert.errors import CheckpointError, InputError

__all__ = ["Node", "Program", "Ref", "references", "substitute"]


@dataclass(frozen=True)
class Node:
    """One operation.

    Attributes:
        name: unique; what a `Ref` points to.
        op: ATen name such as "aten.conv2d.default", or "neuron".
        args, kwargs: plain values, nested lists and tuples, `Ref`s.
        layer: dotted path of the user's module that called it ("" for the root).
    """

    name: str
    op: str
    args: tuple[Any, ...]
    kwargs: dict[str, Any] = field(default_factory=dict)
    layer: str = ""

    @property
    def refs(self) -> list[str]:
        """Names of everything this node reads, in order, repeats included."""
        return [ref.name for ref in references((self.args, self.kwargs))]


@dataclass(frozen=True)
class Program:
    """Nodes in execution order.

    Attributes:
        inputs: names of the caller's arguments, in order.
        nodes: each reads only inputs, constants and earlier nodes.
        output: what a call returns: a `Ref`, or lists, tuples and dicts of `Ref`s.
        signature: how a call's arguments become the inputs; None: positional, one tensor each.
    """

    inputs: tuple[str, ...]
    nodes: tuple[Node, ...]
    output: Any
    signature: Signature | None = None

    @property
    def largest_batch(self) -> int | None:
        """What the module's own code allows; None for any."""
        return self.signature.largest_batch if self.signature else None

    def bind(
        self, args: Sequence[Any], kwargs: Mapping[str, Any], any_batch: bool = False
    ) -> list[Tensor]:
        """The inputs, in order, of a call; InputError where it is not like the captured one.

        any_batch: take more than `largest_batch`; the caller cuts them into calls.
        """
        if self.signature is not None:
            return self.signature.bind(args, kwargs, self.inputs, any_batch)
        if kwargs or len(args) != len(self.inputs):
            names = ", ".join(self.inputs)
            raise InputError(
                f"found {len(args) + len(kwargs)} inputs, the network takes ({names}) by position"
            )
        return list(args)

    def explained(self, error: RuntimeError, inputs: Sequence[Tensor]) -> Exception:
        """What to raise for an error of the first operations: ours where an input's type is new."""
        captured = self.signature.dtypes if self.signature else {}
        for name, value in zip(self.inputs, inputs, strict=True):
            if captured.get(name, value.dtype) != value.dtype:
                found, wanted = (
                    str(d).removeprefix("torch.") for d in (value.dtype, captured[name])
                )
                whole = (
                    "" if captured[name].is_floating_point
                    else " and takes whole numbers (times of a solver: give --grid uniform, in "
                    "Python grid='uniform')"
                )  # fmt: skip
                return InputError(
                    f"input {self.label(name)!r}: found {found}, it was captured as {wanted}"
                    f"{whole} ({error})"
                )
        return error

    def label(self, name: str) -> str:
        """What the user calls the input `name`: its parameter, where it is one by itself."""
        given = self.signature.values if self.signature else {}
        return next((key for key, value in given.items() if value == Ref(name)), name)

    def unbind(
        self, inputs: Sequence[Tensor], positional: int = 0
    ) -> tuple[tuple[Any, ...], dict[str, Any]]:
        """The arguments of a call with these inputs: `bind` turned round.

        positional: how many of them, the first ones, go by position; the others by name.
        """
        if self.signature is None:
            return tuple(inputs), {}
        found = dict(zip(self.inputs, inputs, strict=True))
        given = substitute(self.signature.values, lambda ref: found[ref.name])
        first = self.signature.parameters[:positional]
        return tuple(given.pop(name) for name in first), given

    @property
    def batch_inputs(self) -> list[int]:
        """Which inputs have the batch as axis 0; none where the batch is fixed or unknown."""
        shapes = self.signature.shapes if self.signature else {}
        return [i for i, name in enumerate(self.inputs) if shapes.get(name, ())[:1] == (BATCH,)]

    def batch_size(self, inputs: Sequence[Tensor]) -> int:
        """Rows of a call's inputs; where the batch is fixed or unknown, of its first input."""
        first = inputs[next(iter(self.batch_inputs), 0)]
        return len(first) if first.ndim else 1

    @property
    def output_names(self) -> set[str]:
        """Names of the values that a call returns."""
        return {ref.name for ref in references(self.output)}

    def readers(self) -> dict[str, list[Node]]:
        """The nodes that read each name."""
        found: dict[str, list[Node]] = {}
        for node in self.nodes:
            for name in dict.fromkeys(node.refs):
                found.setdefault(name, []).append(node)
        return found

    def downstream_of(self, starts: set[str]) -> set[str]:
        """Names of nodes that depend on any of `starts` (which are included)."""
        found = set(starts)
        for node in self.nodes:
            if any(name in found for name in node.refs):
                found.add(node.name)
        return found


def references(value: Any) -> Iterator[Ref]:
    """Every `Ref` inside nested lists, tuples and dicts."""
    if isinstance(value, Ref):
        yield value
    elif isinstance(value, (list, tuple)):
        for item in value:
            yield from references(item)
    elif isinstance(value, dict):
        for item in value.values():
            yield from references(item)


def substitute(value: Any, replace: Callable[[Ref], Any]) -> Any:
    """`value` with each `Ref` replaced; containers keep their type."""
    if isinstance(value, Ref):
        return replace(value)
    if isinstance(value, (list, tuple, dict)):
        return rebuilt(value, lambda item: substitute(item, replace))
    return value


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
        return {"device": str(value)}
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
            Node(str(name), str(op), tuple(decode(args)), dict(decode(kwargs)), str(layer))
            for name, op, args, kwargs, layer in content["nodes"]
        )
        signature = None
        if "signature" in content:
            signature = Signature.from_dict(decode(content["signature"]))
        return Program(tuple(content["inputs"]), nodes, decode(content["output"]), signature)
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
