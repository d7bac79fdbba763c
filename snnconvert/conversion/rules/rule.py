"""All that is known of one operation, in one object: its rule.

linear       commutes with the mean over time; passes through
bilinear     linear while at most one operand depends on spikes, else accumulated
divided      linear in its first operand while no other depends on spikes, else accumulated
accumulated  must see the accumulated input (norms, softmax, max pool, other functions)
fires        is replaced by neurons
static       allowed only where nothing depends on spikes, or no weights depend on it
refused      known, but never converted; its rule may say why, or how it shares memory
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from torch import Tensor

from snnconvert.conversion.graph.program import Node, Ref

KINDS = ("linear", "bilinear", "divided", "accumulated", "fires", "static", "refused")
GATES = (None, "product", "halves")

Shapes = Sequence[Sequence[int]]
Constants = Mapping[str, Tensor]


@dataclass(frozen=True)
class Activation:
    """The neuron that an operation becomes.

    Attributes:
        replaces: True where the neuron *is* the operation (ReLU and other clips at zero); False
            where the operation stays, is applied to the accumulated potential, and a neuron
            turns its result into spikes.
        signed: whether spikes of both signs are needed.
        ceiling: [] or [C], where the operation itself says it (fake quantisation); else None.
        always: it becomes a neuron even where no weights read it.
        bound: no value is larger than this, in magnitude; None: any may be.
    """

    replaces: bool
    signed: bool
    ceiling: Tensor | None = None
    always: bool = False
    bound: float | None = None


@dataclass(frozen=True)
class View:
    """The result of an operation that shares memory with its first argument.

    Attributes:
        back: of (the operation, the first argument now, the written result), name, args and
            kwargs of what puts the result back in its place; None where nothing can.
        copies: True where it is a copy after all, of a constant, so that writing it is no harm.
    """

    back: Callable[[Node, Ref, Ref], tuple[str, tuple[Any, ...], dict[str, Any]]] | None = None
    copies: bool = False


@dataclass(frozen=True)
class Rule:
    """What an operation does to spikes, what it costs, and what every pass must know of it.

    Positions are those of the operation's arguments, from 0.

    Attributes:
        kind: one of `KINDS`.
        macs: multiply-accumulates from (shapes of the tensor arguments, output shape), or None.
        moves: True where the op only moves, repeats or joins values, so that spikes stay spikes.
        turns: changes nothing but signs, so that spikes stay spikes, of the other sign.
        activation: of a node and the constants, the neuron it becomes, or None for none.
        function: what executes it; default the operator of that name.
        fresh: its result is memory of its own, shared with nothing.
        weight, bias: their positions; None where it has none, or none that may change.
        index: position of what says where values go; linear only while no spike reaches it.
        channel_axis: where the channels of its result are, counted from the front or (negative)
            from the back; None: where its first argument has them, see `keeps_axes`.
        keeps_axes: whether they are there; default: unless it `moves`.
        folds: a batch norm that alone reads it may become part of its weight (channels along
            axis 0) and bias.
        passes: hands spikes on to weights although it does not commute with the mean (max pool).
        selects: its result (the first, of several) is one of the values that it reads: what moves
            by spikes of one size still does afterwards (max pool, maximum).
        gate: "product" where one of its two factors may be the other's gate, "halves" where one
            half of its argument is (GLU).
        view: how it shares memory with its first argument; None: it does not.
        in_order: takes only tensors whose elements lie in order (no channels_last).
        number: its result is a number such as the size of the batch.
        random: draws in every call; dropout: drops in training only, by its arguments (x, p, on).
        equation: position of what says which axes are added up (einsum); `macs` is then given it
            too, as the third.
    """

    kind: str
    macs: Callable[..., int] | None = None
    moves: bool = False
    turns: bool = False
    activation: Callable[[Node, Constants], Activation | None] | None = None
    function: Callable[..., Any] | None = None
    fresh: bool = False
    weight: int | None = None
    bias: int | None = None
    index: int | None = None
    channel_axis: int | None = None
    keeps_axes: bool | None = None
    folds: bool = False
    passes: bool = False
    selects: bool = False
    gate: str | None = None
    view: View | None = None
    in_order: bool = False
    number: bool = False
    random: bool = False
    dropout: bool = False
    equation: int | None = None

    @property
    def converts(self) -> bool:
        """Whether a network with this operation can be converted."""
        return self.kind != "refused"

    @property
    def hands_on(self) -> bool:
        """Whether what comes out of it are spikes where those it reads are."""
        return self.moves or self.turns

    @property
    def follows(self) -> bool:
        """Whether the channels of its result are where its first argument has them."""
        return not self.moves if self.keeps_axes is None else self.keeps_axes

    @property
    def fault(self) -> str | None:
        """What is wrong with what it says, None if nothing."""
        if self.kind not in KINDS:
            return f"kind {self.kind!r}, allowed: {', '.join(KINDS)}"
        if self.gate not in GATES:
            return f"gate {self.gate!r}, allowed: {', '.join(map(str, GATES))}"
        if self.folds and (self.weight is None or self.bias is None):
            return "a batch norm folds into `weight` and `bias`: give their positions"
        return None
