"""A captured network as data: operations by name, references, constants. No code inside.

This is what the simulators execute and what a `.snn.pt` stores.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from torch import Tensor

from snnconvert.common.inputs import Inputs
from snnconvert.common.words import counted
from snnconvert.conversion.graph.signature import BATCH, Signature
from snnconvert.conversion.graph.values import Ref, references, substitute
from snnconvert.errors import InputError

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
    def short_name(self) -> str:
        """ "conv2d" of "aten.conv2d.default"; control flow has no longer name than "cond"."""
        return self.op.split(".")[1] if "." in self.op else self.op

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

    @property
    def fixed_batch(self) -> int | None:
        """The only batch that it takes; None where it takes others too, or nothing is known."""
        shapes = self.signature.shapes if self.signature else {}
        first = next(iter(shapes.values()), ())
        return first[0] if first and not self.batch_inputs else None

    @property
    def fixed_inputs(self) -> list[int]:
        """Which inputs have a fixed batch as axis 0."""
        shapes = self.signature.shapes if self.signature else {}
        wanted = (self.fixed_batch,)
        return [i for i, name in enumerate(self.inputs) if shapes.get(name, ())[:1] == wanted]

    @property
    def takes(self) -> Inputs:
        """What is known of a call's inputs."""
        if self.signature is None:
            return Inputs(())
        shapes = self.signature.shapes
        known = tuple(tuple(shapes[name]) for name in self.inputs if name in shapes)
        return Inputs(known, self.largest_batch, self.fixed_batch)

    def bind(
        self, args: Sequence[Any], kwargs: Mapping[str, Any], any_batch: bool = False
    ) -> list[Tensor]:
        """The inputs, in order, of a call; InputError where it is not like the captured one.

        any_batch: take more than `largest_batch`, other batches than a fixed one, and a number a
            sample in place of one for all; the caller cuts them into calls.
        """
        if self.signature is not None:
            fixed = self.fixed_batch if any_batch else None
            signature = self.signature if fixed is None else self.signature.freed(fixed)
            return signature.bind(args, kwargs, self.inputs, any_batch)
        if kwargs or len(args) != len(self.inputs):
            names = ", ".join(self.inputs)
            raise InputError(
                f"found {counted(len(args) + len(kwargs), 'input')}, the network takes "
                f"({names}) by position"
            )
        return list(args)

    def explained(self, error: Exception, inputs: Sequence[Tensor]) -> Exception:
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
        return tuple(given.pop(name, None) for name in first), given

    @property
    def batch_inputs(self) -> list[int]:
        """Which inputs have the batch as axis 0; none where the batch is fixed or unknown."""
        shapes = self.signature.shapes if self.signature else {}
        return [i for i, name in enumerate(self.inputs) if shapes.get(name, ())[:1] == (BATCH,)]

    def batch_size(self, inputs: Sequence[Tensor]) -> int:
        """Rows of a call's inputs; where the batch is fixed or unknown, of its first input."""
        first = inputs[next(iter(self.batch_inputs or self.fixed_inputs), 0)]
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

    def takes_one_number(self, name: str) -> bool:
        """Whether an input is one number a sample, or for all: a diffusion time, a label."""
        shape = self.signature.shapes.get(name) if self.signature else None
        return shape is not None and (not shape or all(size == 1 for size in shape[1:]))

    @property
    def of_time_alone(self) -> set[str]:
        """Names of nodes that no input but those of one number (the time, a label) reaches.

        Empty where all inputs are such, or none is.
        """
        others = {name for name in self.inputs if not self.takes_one_number(name)}
        if not others or len(others) == len(self.inputs):
            return set()
        return {node.name for node in self.nodes} - self.downstream_of(others)

    def downstream_of(self, starts: set[str]) -> set[str]:
        """Names of nodes that depend on any of `starts` (which are included)."""
        found = set(starts)
        for node in self.nodes:
            if any(name in found for name in node.refs):
                found.add(node.name)
        return found

    def upstream_of(self, ends: set[str]) -> set[str]:
        """Names of nodes that any of `ends` (which are included) depends on, and of inputs."""
        found = set(ends)
        for node in reversed(self.nodes):
            if node.name in found:
                found.update(node.refs)
        return found
