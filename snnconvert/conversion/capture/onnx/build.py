"""From a graph of `onnx_ir` to blocks of steps."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import onnx_ir as ir
from torch import nn

from snnconvert.conversion.capture.onnx.operations import OPERATIONS
from snnconvert.conversion.capture.onnx.steps.block import Block
from snnconvert.conversion.capture.onnx.steps.call import OnnxNode, Run, Step
from snnconvert.conversion.capture.onnx.steps.types import known
from snnconvert.errors import CheckpointError, UnsupportedOpError

STANDARD = ("", "ai.onnx")
NO_WORD = re.compile(r"\W+")
KEPT_NAMES = {*dir(nn.Module()), *dir(Block), "held", "inputs", "outputs", "run", "order", "last",
              "block", "computed", "settle", "damaged", "fixed_batch", "halves"}  # fmt: skip
Constants = dict[str, np.ndarray]


def operation_name(node: ir.Node) -> str:
    """ "Conv", or "com.microsoft::Gelu" outside of the standard."""
    return node.op_type if node.domain in STANDARD else f"{node.domain}::{node.op_type}"


def title(node: ir.Node) -> str:
    """What the file calls a node; its first result where it has no name."""
    return node.name or next((str(v.name) for v in node.outputs if v.name), "(unnamed)")


def needed(graph: ir.Graph, outputs: Iterable[ir.Value]) -> list[ir.Node]:
    """The nodes that `outputs` depend on, in order."""
    wanted = set(outputs)
    kept = []
    for node in reversed(list(graph)):
        if any(value in wanted for value in node.outputs):
            kept.append(node)
            wanted |= {value for value in node.inputs if value is not None} | set(outer_of(node))
    return kept[::-1]


def subgraphs(node: ir.Node) -> dict[str, ir.Graph]:
    return {
        name: attribute.value
        for name, attribute in node.attributes.items()
        if attribute.type == ir.AttributeType.GRAPH
    }


def outer_of(node: ir.Node) -> list[ir.Value]:
    """What the subgraphs of a node read from outside."""
    found: dict[ir.Value, None] = {}
    for graph in subgraphs(node).values():
        own = {*graph.inputs, *graph.initializers.values()}
        read: list[ir.Value] = []
        for inner in graph:
            read += [value for value in inner.inputs if value is not None]
            read += outer_of(inner)
            own |= set(inner.outputs)
        read += list(graph.outputs)
        found |= {value: None for value in read if value not in own}
    return list(found)


def every_node(nodes: Iterable[ir.Node]) -> Iterable[ir.Node]:
    """Those inside of subgraphs too."""
    for node in nodes:
        yield node
        for graph in subgraphs(node).values():
            yield from every_node(graph)


def refuse_unknown(nodes: Iterable[ir.Node], path: Path) -> None:
    """UnsupportedOpError that names every operation that has no handler, with where it is."""
    found: dict[str, list[ir.Node]] = {}
    for node in every_node(nodes):
        name = operation_name(node)
        if name not in OPERATIONS:
            found.setdefault(name, []).append(node)
    if not found:
        return
    lines = []
    for name, places in sorted(found.items()):
        more = f" and {len(places) - 3} more" if len(places) > 3 else ""
        read = [str(v.name) for v in places[0].inputs if v is not None and v.producer() is not None]
        reads = f"; reads {', '.join(read)}" if read else ""
        lines.append(f"{name} ({', '.join(map(title, places[:3]))}{more}{reads})")
    raise UnsupportedOpError(
        f"{path}: {len(found)} operations are not known: {'; '.join(lines)}. Replace them before "
        "export, or cut the network off before them (outputs=[...], --outputs NAME)"
    )


class Builder:
    """Makes blocks of a model's graphs.

    Args:
        opset: of the standard, where a node does not say.
        run: what all steps share.
    """

    def __init__(self, opset: int, run: Run, path: Path) -> None:
        self.opset, self.run, self.path = opset, run, path
        self.names: dict[ir.Value, str] = {}
        self.taken: set[str] = set()
        self.modules: set[str] = set()

    def name_of(self, value: ir.Value | None) -> str:
        """Unique over all graphs; "" for an input that is left out."""
        if value is None or (not value.name and value.producer() is None):
            return ""
        if value not in self.names:
            name = str(value.name or "value")
            while name in self.taken:
                name += "_"
            self.taken.add(name)
            self.names[value] = name
        return self.names[value]

    def block(
        self, graph: ir.Graph, outer: Mapping[str, np.ndarray], nodes: list[ir.Node],
        outputs: Iterable[ir.Value],
    ) -> Block:  # fmt: skip
        """A graph, of whose values `outer` are known outside."""
        constants = {**outer}
        for value in graph.initializers.values():
            constants[self.name_of(value)] = self.array(value.const_value, value.name)
        held = set(graph.initializers.values())
        steps = [self.step(node, constants) for node in nodes]
        inputs = [self.name_of(value) for value in graph.inputs if value not in held]
        return Block(inputs, [self.name_of(v) for v in outputs], constants, steps, self.run)

    def array(self, tensor: Any, name: Any) -> np.ndarray:
        """CheckpointError where the file does not hold what it claims to."""
        if tensor is None:
            raise CheckpointError(f"{self.path}: {name} has no value")
        try:
            found = known(tensor.numpy(), int(tensor.dtype))
        except (ValueError, TypeError, AttributeError, OSError, BufferError) as error:
            raise CheckpointError(
                f"{self.path}: {name} is truncated or damaged ({error})"
            ) from error
        if found is None:
            raise UnsupportedOpError(f"{self.path}: {name} holds {tensor.dtype}, not numbers")
        return found

    def step(self, node: ir.Node, constants: Constants) -> Step:
        graphs = subgraphs(node)
        given = [self.name_of(value) for value in node.inputs]
        while given and not given[-1]:
            given.pop()
        implicit = [self.name_of(value) for value in outer_of(node)]
        outputs = [self.name_of(value) if value.name else "" for value in node.outputs]
        while outputs and not outputs[-1]:
            outputs.pop()
        plain = {
            name: self.plain(attribute, node)
            for name, attribute in node.attributes.items()
            if name not in graphs
        }
        found = OnnxNode(
            self.module_name(node), title(node), operation_name(node),
            node.version or self.opset, (*given, *implicit), tuple(outputs), plain, len(given),
        )  # fmt: skip
        at = {i: constants[name] for i, name in enumerate(found.inputs) if name in constants}
        blocks = {
            name: self.block(graph, constants, list(graph), graph.outputs)
            for name, graph in graphs.items()
        }
        return Step(found, at, self.run, blocks)

    def plain(self, attribute: Any, node: ir.Node) -> Any:
        """The value of an attribute: numbers, strings, lists of them, or an array."""
        if attribute.is_ref():
            raise CheckpointError(f"{self.path}: {title(node)} has an attribute without value")
        value = attribute.value
        if attribute.type == ir.AttributeType.TENSOR:
            return self.array(value, f"{title(node)}.{attribute.name}")
        if isinstance(value, (list, tuple)):
            return list(value)
        return value

    def module_name(self, node: ir.Node) -> str:
        """The node's name as a module can have it."""
        words = NO_WORD.sub("_", title(node)).strip("_") or node.op_type
        if not node.name:
            words = f"{node.op_type}_{words}"
        name, count = words, 1
        while name in self.modules or name in KEPT_NAMES:
            count += 1
            name = f"{words}_{count}"
        self.modules.add(name)
        return name
