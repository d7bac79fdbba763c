"""The nodes that the converter itself makes (and batch norms), by names instead of positions."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

from snnconvert.conversion.graph.program import Node
from snnconvert.conversion.graph.values import Ref

QUANTIZED_CLIP = "snnconvert.quantized_clip.default"
NEURON = "neuron"
THRESHOLD_AT = "snnconvert.threshold_at.default"
BATCH_NORM = "aten.batch_norm.default"
TRAINING = 5  # position of the argument


def ceiling_name(clip: str) -> str:
    """Name of the constant that holds the calibrated ceiling (or its table) of a clip."""
    return f"{clip}_ceiling"


def start_name(clip: str) -> str:
    """Name of the constant that holds the fitted start of the potential of a clip."""
    return f"{clip}_v_init"


def before_name(clip: str) -> str:
    """Name of the function that stays before a clip, such as SiLU."""
    return f"{clip}_before"


@dataclass(frozen=True)
class Clip:
    """A quantised clip.

    Attributes:
        input: what it quantises.
        ceiling: a `Ref` to a constant, to a look-up in a table, or to something computed.
        levels: steps above zero.
        signed: whether it clips at -ceiling instead of 0.
        v_init: where it rounds, in thresholds; None: to the nearest (1/2).
    """

    input: Ref
    ceiling: Ref
    levels: int
    signed: bool = False
    v_init: Ref | None = None

    @staticmethod
    def found(node: Node) -> bool:
        return node.op == QUANTIZED_CLIP

    @classmethod
    def of(cls, node: Node) -> Clip:
        return cls(*node.args)

    def node(self, name: str, layer: str) -> Node:
        optional = () if self.v_init is None else (self.v_init,)
        args = (self.input, self.ceiling, self.levels, self.signed, *optional)
        return Node(name, QUANTIZED_CLIP, args, {}, layer)


@dataclass(frozen=True)
class Neuron:
    """A layer of neurons.

    Attributes:
        input: the current that it integrates.
        v_threshold: name of its threshold: a constant, or a look-up in a table.
        signed: whether its counts go below zero.
        function: name of the function before it, applied to the accumulated potential, or None.
        v_init: name of the start of its potential, where it has one of its own.
    """

    input: Ref
    v_threshold: str
    signed: bool
    function: str | None
    v_init: str | None = None

    @staticmethod
    def found(node: Node) -> bool:
        return node.op == NEURON

    @classmethod
    def of(cls, node: Node) -> Neuron:
        return cls(*node.args)

    def node(self, name: str, layer: str) -> Node:
        optional = () if self.v_init is None else (self.v_init,)
        args = (self.input, self.v_threshold, self.signed, self.function, *optional)
        return Node(name, NEURON, args, {}, layer)


@dataclass(frozen=True)
class Lookup:
    """Thresholds of each sample, looked up in a table over t (`operators.threshold_table`)."""

    table: Ref
    t: Ref
    edges: Ref
    low: float
    high: float

    @staticmethod
    def found(node: Node) -> bool:
        return node.op == THRESHOLD_AT

    @classmethod
    def of(cls, node: Node) -> Lookup:
        return cls(*node.args)

    def node(self, name: str, layer: str) -> Node:
        args = (self.table, self.t, self.edges, self.low, self.high)
        return Node(name, THRESHOLD_AT, args, {}, layer)


@dataclass(frozen=True)
class BatchNorm:
    """A batch norm; a `Ref` is None where there is no such tensor.

    Attributes:
        training: whether it takes, and updates by, the statistics of its batch.
    """

    input: Ref
    weight: Ref | None
    bias: Ref | None
    mean: Ref | None
    variance: Ref | None
    training: bool
    momentum: float
    eps: float
    cudnn: bool = True

    @staticmethod
    def found(node: Node) -> bool:
        return node.op == BATCH_NORM

    @classmethod
    def of(cls, node: Node) -> BatchNorm:
        return cls(*node.args)

    def node(self, name: str, layer: str) -> Node:
        args = (self.input, self.weight, self.bias, self.mean, self.variance, self.training,
                self.momentum, self.eps, self.cudnn)  # fmt: skip
        return Node(name, BATCH_NORM, args, {}, layer)

    def in_training(self, node: Node) -> Node:
        """`node`, which this is, as it trains; by its running statistics where it has any."""
        return replace(node, args=with_argument(node, TRAINING, self.mean is not None))


def with_argument(
    node: Node, position: int, value: Any, defaults: Sequence[Any] = ()
) -> tuple[Any, ...]:
    """The arguments of `node` with another one at `position`; those left out have `defaults`."""
    args = [*node.args, *defaults[len(node.args) : position + 1]]
    args += [None] * (position + 1 - len(args))
    args[position] = value
    return tuple(args)
