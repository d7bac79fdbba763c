"""The table of rules: by the name of an operation, all that is known of it.

An operation without an entry is refused by name where spikes reach it; nothing is approximated
silently. A rule of your
own, for an operation of any `torch.library` namespace, is one call, and every pass goes by it:

    from snnconvert.conversion.rules import Rule, register
    register("mylib.smooth_relu.default", Rule("accumulated", activation=signed_function))
    register("mylib.conv.default", Rule("bilinear", macs_of_weights, weight=1, bias=2,
                                        channel_axis=1, fresh=True, folds=True))
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any

import torch

from snnconvert.common.registry import Registry
from snnconvert.conversion.graph.nodes import QUANTIZED_CLIP, with_argument
from snnconvert.conversion.graph.program import Node, Ref, references
from snnconvert.conversion.rules.bounded import bounded
from snnconvert.conversion.rules.by_default import STATIC, default_rule
from snnconvert.conversion.rules.einsum import sums_products
from snnconvert.conversion.rules.rule import Rule, Shapes
from snnconvert.errors import InputError, UnsupportedOpError

REMEDY = "replace the layer, or register a rule (snnconvert.conversion.rules.register)"

RULES: Registry[Rule] = Registry("conversion rule")


def register(op: str, rule: Rule) -> Rule:
    """File `rule` under `op`, e.g. "aten.erf.default" or "mylib.op.default".

    Where the table knows the operation as refused, what it knows of its memory and of dropout
    holds on. A rule of kind "refused" may leave the overload out: it is of all of them.

    Raises:
        InputError: no such kind, a malformed name, or the operation has a rule already.
    """
    if rule.fault is not None:
        raise InputError(f"rule of {op}: {rule.fault}")
    if rule.kind == "fires" and rule.activation is None and op != QUANTIZED_CLIP:
        raise InputError(f"rule of {op}: kind 'fires' needs `activation`")
    if op in RULES:
        raise InputError(f"rule of {op}: there is one already ({RULES[op].kind})")
    if rule.function is None and rule.converts and op.count(".") != 2:
        raise InputError(f"rule of {op}: write namespace.name.overload, e.g. aten.erf.default")
    known = listed_rule(op)
    if known is not None:
        rule = replace(rule, view=rule.view or known.view, dropout=rule.dropout or known.dropout)
    return RULES.register(op)(rule)


def unregister(op: str) -> None:
    """Take the rule of `op` out of the table. InputError where it has none."""
    RULES.unregister(op)


def add(rule: Rule, names: str) -> None:
    """One rule for many ATen operations, separated by white space."""
    for name in names.split():
        register(name if name.startswith("snnconvert.") else f"aten.{name}", rule)


def rule_of(op: str) -> Rule | None:
    """What is known of `op`: what the table says, or what its schema does; None where nothing."""
    return listed_rule(op) or default_rule(op)


def listed_rule(op: str) -> Rule | None:
    """What the table says of `op`, by itself or with all its overloads."""
    if op in RULES:
        return RULES[op]
    of_all = op.rpartition(".")[0]
    return RULES[of_all] if of_all in RULES and not RULES[of_all].converts else None


def converts(op: str) -> bool:
    """Whether a network with `op` can be converted."""
    rule = rule_of(op)
    return rule is not None and rule.converts


def function_of(op: str) -> Callable[..., Any]:
    """The function behind an operation of the table.

    Only names in the table, and harmless ones (`by_default`), are ever looked up, so a file cannot
    name an operation of its choice. Nor can it make one of numbers compute without end.

    Raises:
        InputError: it has no rule, and is none of those.
        UnsupportedOpError: the table knows it as one that is never converted.
    """
    rule = rule_of(op)
    if rule is None:
        raise InputError(f"unknown conversion rule {op!r}: {REMEDY}")
    if not rule.converts:
        raise UnsupportedOpError(f"{op}: is known, but no network with it can be converted")
    if rule.function is not None:
        return bounded(rule.function) if rule.number else rule.function
    namespace, name, overload = op.split(".")
    result: Callable[..., Any] = getattr(getattr(getattr(torch.ops, namespace), name), overload)
    return result


def is_commuting(node: Node, moving: Sequence[str]) -> bool:
    """Whether `node` commutes with the mean over time when only `moving` depend on spikes."""
    rule = rule_of(node.op)
    kind = rule.kind if rule is not None else None
    if kind == "bilinear":
        return len(moving) == 1
    if kind == "divided":
        first = node.args[0]
        return isinstance(first, Ref) and list(moving) == [first.name]
    if rule is not None and rule.index is not None:
        index = {ref.name for ref in references(argument_at(node, rule.index))}
        return kind == "linear" and index.isdisjoint(moving)
    return kind == "linear"


def is_number(node: Node) -> bool:
    """Whether its result is a number such as the size of the batch."""
    rule = rule_of(node.op)
    return rule is not None and rule.number


def has_weights(node: Node) -> bool:
    """Whether `node` multiplies by weights or by another input: synapses."""
    rule = rule_of(node.op)
    if rule is not None and rule.equation is not None:
        return sums_products(argument_at(node, rule.equation))
    return rule is not None and rule.macs is not None


def macs_of(node: Node, shapes: Shapes, output: Sequence[int]) -> int | None:
    """Multiply-accumulates of `node`; None where it has no weights.

    Args:
        shapes: of the tensors that it reads.
        output: shape of its result.
    """
    rule = rule_of(node.op)
    if rule is None or rule.macs is None or not has_weights(node):
        return None
    equation = argument_at(node, rule.equation)
    return rule.macs(shapes, output) if equation is None else rule.macs(shapes, output, equation)


def argument_at(node: Node, position: int | None) -> Any:
    """The argument at `position`; None where there is no such position or it was left out."""
    if position is None or len(node.args) <= position:
        return None
    return node.args[position]


def with_bias(node: Node, bias: Ref, weight: Ref | None = None) -> Node:
    """`node` with another bias (and weight), where its rule says that they are."""
    rule = rule_of(node.op) or STATIC
    schema = getattr(function_of(node.op), "_schema", None)
    defaults = [a.default_value for a in schema.arguments] if schema is not None else []
    for position, value in ((rule.weight, weight), (rule.bias, bias)):
        if position is not None and value is not None:
            node = replace(node, args=with_argument(node, position, value, defaults))
    return node
