"""The rule of an operation: what it does to spikes, what it costs, what neuron it becomes.

    linear       commutes with the mean over time; passes through
    bilinear     linear while at most one operand depends on spikes, else accumulated
    divided      linear in its first operand while no other depends on spikes, else accumulated
    accumulated  must see the accumulated input (norms, softmax, max pool, other functions)
    fires        is replaced by neurons
    static       allowed only where nothing depends on spikes

An operation without an entry is refused by name; nothing is approximated silently. A rule of your
own, for an operation of any `torch.library` namespace, is one call:

    from snnconvert.conversion.rules import Rule, register
    register("mylib.smooth_relu.default", Rule("accumulated", activation=signed_function))
"""

from __future__ import annotations

import operator
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from snnconvert.common.registry import Registry
from snnconvert.conversion.graph.program import Node, Ref
from snnconvert.errors import InputError

QUANTIZED_CLIP = "snnconvert.quantized_clip.default"
NEURON = "neuron"
KINDS = ("linear", "bilinear", "divided", "accumulated", "fires", "static")

Shapes = Sequence[Sequence[int]]


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
    """

    replaces: bool
    signed: bool
    ceiling: Tensor | None = None
    always: bool = False


Constants = Mapping[str, Tensor]


@dataclass(frozen=True)
class Rule:
    """What an operation does to spikes, and what it costs.

    Attributes:
        kind: one of `KINDS`.
        macs: multiply-accumulates from (shapes of the tensor arguments, output shape), or None.
        moves: True where the op only moves, repeats or joins values, so that spikes stay spikes.
        activation: of a node and the constants, the neuron it becomes, or None for none.
        function: what executes it; default the operator of that name.
    """

    kind: str
    macs: Callable[[Shapes, Sequence[int]], int] | None = None
    moves: bool = False
    activation: Callable[[Node, Constants], Activation | None] | None = None
    function: Callable[..., Any] | None = None


RULES: Registry[Rule] = Registry("conversion rule")


def register(op: str, rule: Rule) -> Rule:
    """File `rule` under `op`, e.g. "aten.erf.default" or "mylib.op.default".

    Raises:
        InputError: no such kind, a malformed name, or the operation has a rule already.
    """
    if rule.kind not in KINDS:
        raise InputError(f"rule of {op}: kind {rule.kind!r}, allowed: {', '.join(KINDS)}")
    if rule.kind == "fires" and rule.activation is None and op != QUANTIZED_CLIP:
        raise InputError(f"rule of {op}: kind 'fires' needs `activation`")
    if op in RULES:
        raise InputError(f"rule of {op}: there is one already ({RULES[op].kind})")
    if rule.function is None and op.count(".") != 2:
        raise InputError(f"rule of {op}: write namespace.name.overload, e.g. aten.erf.default")
    return RULES.register(op)(rule)


def add(rule: Rule, names: str) -> None:
    """One rule for many ATen operations, separated by white space."""
    for name in names.split():
        register(name if name.startswith("snnconvert.") else f"aten.{name}", rule)


def rule_of(op: str) -> Rule | None:
    """The rule of `op`, None where it has none."""
    return RULES[op] if op in RULES else None  # noqa: SIM401 (`get` would raise our own error)


def function_of(op: str) -> Callable[..., Any]:
    """The function behind an operation of the table; UnknownOp errors come from `RULES`.

    Only names in the table are ever looked up, so a file cannot name an operation of its choice.
    """
    rule = RULES[op]
    if rule.function is not None:
        return rule.function
    namespace, name, overload = op.split(".")
    return getattr(getattr(getattr(torch.ops, namespace), name), overload)


def is_commuting(node: Node, moving: Sequence[str]) -> bool:
    """Whether `node` commutes with the mean over time when only `moving` depend on spikes."""
    kind = RULES[node.op].kind
    if kind == "bilinear":
        return len(moving) == 1
    if kind == "divided":
        first = node.args[0]
        return isinstance(first, Ref) and list(moving) == [first.name]
    return kind == "linear"


SYMBOLIC = {
    f"operator.{function.__name__}": function
    for function in (
        operator.mul, operator.add, operator.sub, operator.floordiv, operator.truediv,
        operator.neg, operator.mod, operator.pow,
    )
}  # fmt: skip
