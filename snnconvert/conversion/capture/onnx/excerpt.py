"""What of a file is read, where only the data say how it goes on.

An input that chooses a branch (a sample rate) is fixed at its example. Post-processing without
weights at the end, such as the suppression of boxes, is left out: no neuron would be in it.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import onnx_ir as ir
from onnx_ir.passes import common
from torch import Tensor

from snnconvert.common.registry import nearest
from snnconvert.conversion.capture.onnx.build import every_node, needed, outer_of, title
from snnconvert.conversion.capture.onnx.expansions import constant_of
from snnconvert.conversion.capture.onnx.file import opened
from snnconvert.conversion.capture.onnx.inputs import Wanted
from snnconvert.conversion.capture.onnx.steps.call import DataDependent
from snnconvert.errors import InputError, UnsupportedOpError

SIZES = ("Shape", "Size")  # what they give depends on no data
MATRIX = 2  # axes of a weight


@dataclass(frozen=True)
class Excerpt:
    """A part of a file's main graph.

    Attributes:
        path: of the file.
        outputs: values at which it ends; None: the file's own.
        fixed: inputs whose example value is part of the network.
        left: results of the operations that are left out, with all that is behind them.
    """

    path: Path
    outputs: tuple[str, ...] | None = None
    fixed: frozenset[str] = frozenset()
    left: frozenset[str] = frozenset()

    @property
    def whole(self) -> bool:
        return self.outputs is None and not self.left

    def model(self) -> ir.Model:
        """The model, which ends where the excerpt does.

        Raises:
            CheckpointError, UnsupportedOpError: as `opened`.
            InputError: it has no such values.
        """
        model = opened(self.path)
        if self.outputs is not None:
            cut_off(model.graph, self.outputs, self.path)
        if self.left:
            cut_off(model.graph, _ends(model, self.left), self.path)
        return model

    def without(self, cause: DataDependent, wanted: Sequence[Wanted], given: bool) -> Excerpt:
        """The excerpt that gets along without what `cause` cannot know.

        Args:
            wanted: inputs of the file.
            given: whether their example values are a caller's.

        Raises:
            UnsupportedOpError: there is none, since inputs are unknown or weights would be lost.
        """
        graph = replace(self, left=frozenset()).model().graph
        choosing = _choosing(graph, cause.value, wanted) - self.fixed
        if choosing and given:
            return replace(self, fixed=self.fixed | choosing)
        own = self.left | set(filter(None, cause.node.outputs))
        for left in (own | _alike(graph, cause.node.op), own):
            more = replace(self, left=left)
            if left != self.left and more.model().graph.outputs:
                return more
        ends = _ends(replace(self, left=frozenset()).model(), own, whole=False)
        hint = f"; before it are {', '.join(ends)}" if ends else ""
        raise UnsupportedOpError(f"{cause}{hint}") from cause

    def notes(self, fixed: Mapping[str, Tensor]) -> list[str]:
        """What a user must know: which inputs are fixed, and what is left out."""
        found = [
            f"input {name!r} chooses between branches; the network is the one for {name} = "
            f"{value.item()}"
            for name, value in fixed.items()
        ]
        if self.left:
            graph = replace(self, left=frozenset()).model().graph
            behind = _behind(graph, self.left)
            first = next(node for node in behind if self.left & _names(node.outputs))
            ends = ", ".join(str(value.name) for value in self.model().graph.outputs)
            found.append(
                f"{first.op_type} ({title(first)}) gives a result whose size depends on the data; "
                f"it and what is behind it ({len(behind)} operations, none with weights) are left "
                f"out: the network ends at {ends}"
            )
        return found


def cut_off(graph: ir.Graph, outputs: Sequence[str], path: Path) -> None:
    """Let a graph end at the values that have these names, and nowhere else."""
    known = {str(value.name): value for node in graph for value in node.outputs if value.name}
    for name in outputs:
        if name not in known:
            raise InputError(
                f"{path}: computes no value {name!r}; {nearest(name, known)}its own outputs are "
                f"{', '.join(str(value.name) for value in graph.outputs)}"
            )
    ends = [known[name] for name in outputs]
    nodes = set(needed(graph, ends))
    graph.outputs.clear()
    graph.outputs.extend(ends)
    dropped = [node for node in graph if node not in nodes]
    for node in every_node(dropped):  # what branches read of the outside is a use too
        for index in range(len(node.inputs)):
            node.replace_input_with(index, None)
    graph.remove(dropped, safe=True)


def _names(values: Sequence[ir.Value | None]) -> set[str]:
    return {str(value.name) for value in values if value is not None}


def _read(node: ir.Node) -> list[ir.Value]:
    """What a node reads, inside of subgraphs too."""
    return [value for value in node.inputs if value is not None] + outer_of(node)


def _behind(graph: ir.Graph, results: frozenset[str]) -> list[ir.Node]:
    """The nodes that give `results`, and all that read them."""
    found: list[ir.Node] = []
    values: set[ir.Value] = set()
    for node in graph:
        if results & _names(node.outputs) or values.intersection(_read(node)):
            found.append(node)
            values |= set(node.outputs)
    return found


def _choosing(graph: ir.Graph, value: str, wanted: Sequence[Wanted]) -> set[str]:
    """Inputs of one whole number or truth value, where `value` follows from such alone."""
    made = {str(v.name): v for node in graph for v in node.outputs}
    known = made.get(value)
    read = _names(graph.inputs) & {value}
    if known is not None:
        nodes = needed(graph, [known])
        read = set().union(*(_names(_read(node)) for node in nodes)) & _names(graph.inputs)
    single = {
        item.name for item in wanted
        if not item.dtype.is_floating_point and item.shape in ((), (1,))
    }  # fmt: skip
    return read if read <= single else set()


def _alike(graph: ir.Graph, op: str) -> set[str]:
    """Results of all operations of a kind that read data: what stops at one stops at each."""
    moving = _moving(graph)
    return set().union(*(
        _names(node.outputs) for node in graph
        if node.op_type == op and moving.intersection(_read(node))
    ))  # fmt: skip


def _ends(model: ir.Model, results: frozenset[str], whole: bool = True) -> list[str]:
    """Names of the numbers before `results`, from which all behind them can be computed.

    The graph's own outputs first; if it shall be `whole`, none where a weight would be left out.
    """
    common.ShapeInferencePass()(model)
    graph = model.graph
    left, moving = _behind(graph, results), _moving(graph)
    if whole and any(map(_has_weight, every_node(left))):
        return []
    inside = {value for node in left for value in node.outputs}
    own = [value for value in graph.outputs if value not in inside]
    ends = dict.fromkeys(own + [value for node in left for value in _read(node)])
    ends = {v: None for v in ends if v in moving - inside and v.producer() is not None}
    while (value := next((v for v in ends if _follows(v, ends, moving)), None)) is not None:
        del ends[value]
        ends |= dict.fromkeys(_sources(value, moving))
    return [str(value.name) for value in ends]


def _sources(value: ir.Value, moving: set[ir.Value]) -> list[ir.Value]:
    """The results that `value` is computed from."""
    node = value.producer()
    read = [] if node is None else _read(node)
    return [v for v in dict.fromkeys(read) if v in moving and v.producer() is not None]


def _follows(value: ir.Value, ends: Collection[ir.Value], moving: set[ir.Value]) -> bool:
    """Whether a network need not end at `value`: a place, a mask, or computed from other ends."""
    if value.is_graph_output() or _has_weight(value.producer()):
        return False
    others, seen, left = set(ends) - {value}, {value}, _sources(value, moving)
    if value.dtype is not None and not value.dtype.is_floating_point():
        return True
    if len(left) == 1 and any(_sources(other, moving) == left for other in others):
        return True  # several parts of one value: it ends there
    while left:
        source = left.pop()
        if source in others or source in seen:
            continue
        if _has_weight(source.producer()):
            return False
        seen.add(source)
        left += _sources(source, moving)
    return True


def _moving(graph: ir.Graph) -> set[ir.Value]:
    """Values that depend on the data."""
    found = {value for value in graph.inputs if value.name not in graph.initializers}
    for node in graph:
        if node.op_type not in SIZES and found.intersection(_read(node)):
            found |= set(node.outputs)
    return found


def _has_weight(node: ir.Node | None) -> bool:
    """Whether a node multiplies by a matrix or kernel of the file."""
    if node is None:
        return False
    constants = (constant_of(value) for value in node.inputs[1:] if value is not None)
    products = ("Conv", "ConvTranspose", "Gemm", "MatMul", "LSTM", "GRU", "RNN")
    return node.op_type in products and any(
        c is not None and len(c.shape) >= MATRIX for c in constants
    )
