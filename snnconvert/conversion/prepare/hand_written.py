"""Activations that exporters and users write out in arithmetic, as the one operation that they are.

Only then neurons take their place: a product of an error function has no rule that fires.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import replace
from typing import Any

from snnconvert.conversion.graph.program import Node, Program, Ref

CLOSE = 1e-5  # constants that files hold in float32
ROOT_HALF, CUBE, ROOT = math.sqrt(0.5), 0.044715, math.sqrt(2 / math.pi)
Found = tuple[Ref, str, dict[str, Any]]  # of which value, operation, its keyword arguments


def recognise_hand_written(program: Program) -> Program:
    """`program` with GELU (both forms), Mish, hard swish and softplus as one node each."""
    matcher = _Matcher(program)
    nodes = []
    for node in program.nodes:
        found = next(filter(None, (match(node, matcher) for match in MATCHES)), None)
        if found is not None:
            x, op, kwargs = found
            node = replace(node, op=op, args=(x,), kwargs=kwargs)
        nodes.append(node)
    return replace(program, nodes=tuple(nodes))


class _Matcher:
    """Looks through nodes that a value alone is made for."""

    def __init__(self, program: Program) -> None:
        self.by_name = {node.name: node for node in program.nodes}
        readers = program.readers()
        outputs = program.output_names
        self.inner = {n for n, read in readers.items() if len(read) == 1 and n not in outputs}

    def made(self, value: Any, *ops: str) -> Node | None:
        """The node behind `value`, if it is one of `ops` and nobody else reads it."""
        node = self.by_name.get(value.name) if isinstance(value, Ref) else None
        if node is None or node.name not in self.inner or node.op not in ops:
            return None
        return node

    def scaled(self, value: Any) -> tuple[Any, float]:
        """`value` as another value times a number."""
        node = self.made(value, "aten.mul.Tensor", "aten.div.Tensor", "aten.mul.Scalar",
                         "aten.div.Scalar")  # fmt: skip
        if node is None:
            return value, 1.0
        a, b = node.args[:2]
        if isinstance(b, (int, float)):
            factor = 1 / b if "div" in node.op and b else float(b)
            inner, more = self.scaled(a)
            return inner, more * factor
        if isinstance(a, (int, float)) and "mul" in node.op:
            inner, more = self.scaled(b)
            return inner, more * a
        return value, 1.0

    def plus(self, value: Any) -> tuple[Any, float]:
        """`value` as another value plus a number."""
        node = self.made(value, "aten.add.Tensor", "aten.add.Scalar")
        if node is None or node.kwargs or len(node.args) > 2:
            return value, 0.0
        a, b = node.args
        if isinstance(b, (int, float)):
            return a, float(b)
        return (b, float(a)) if isinstance(a, (int, float)) else (value, 0.0)

    def factors(self, value: Any) -> tuple[list[Any], float]:
        """All factors of a product, and the numbers among them multiplied."""
        inner, number = self.scaled(value)
        node = self.made(inner, "aten.mul.Tensor")
        if node is None:
            return [inner], number
        found: list[Any] = []
        for part in node.args[:2]:
            parts, more = self.factors(part)
            found, number = found + parts, number * more
        return found, number


def product(node: Node, matcher: _Matcher) -> tuple[list[Any], float] | None:
    """The factors of a node that multiplies or divides."""
    if node.op not in ("aten.mul.Tensor", "aten.div.Tensor", "aten.mul.Scalar", "aten.div.Scalar"):
        return None
    a, b = node.args[:2]
    if "div" in node.op:
        if not isinstance(b, (int, float)) or not b:
            return None
        parts, number = matcher.factors(a)
        return parts, number / b
    found: list[Any] = []
    number = 1.0
    for part in (a, b):
        if isinstance(part, (int, float)):
            number *= part
        else:
            parts, more = matcher.factors(part)
            found, number = found + parts, number * more
    return found, number


def is_near(a: float, b: float) -> bool:
    return abs(a - b) <= CLOSE * abs(b)


def pair(node: Node, matcher: _Matcher, number: float) -> list[tuple[Ref, Any]]:
    """The two factors of a product with `number`, in both orders."""
    found = product(node, matcher)
    if found is None or len(found[0]) != 2 or not is_near(found[1], number):
        return []
    a, b = found[0]
    return [(x, y) for x, y in ((a, b), (b, a)) if isinstance(x, Ref)]


def gelu(node: Node, matcher: _Matcher) -> Found | None:
    """x/2 (1 + erf(x/sqrt 2)), or x/2 (1 + tanh(sqrt(2/pi) (x + 0.044715 x^3)))."""
    for x, gate in pair(node, matcher, 0.5):
        inner, one = matcher.plus(gate)
        made = matcher.made(inner, "aten.erf.default", "aten.tanh.default")
        if made is None or one != 1:
            continue
        if made.op == "aten.erf.default":
            of, factor = matcher.scaled(made.args[0])
            if of == x and is_near(factor, ROOT_HALF):
                return x, "aten.gelu.default", {}
        elif _is_cubic(x, made.args[0], matcher):
            return x, "aten.gelu.default", {"approximate": "tanh"}
    return None


def _is_cubic(x: Ref, value: Any, matcher: _Matcher) -> bool:
    """Whether `value` is sqrt(2/pi) (x + 0.044715 x^3)."""
    inner, factor = matcher.scaled(value)
    total = matcher.made(inner, "aten.add.Tensor")
    if total is None or not is_near(factor, ROOT):
        return False
    for one, other in (total.args[:2], total.args[1::-1]):
        parts, weight = matcher.factors(other)
        if one != x or not is_near(weight, CUBE):
            continue
        power = matcher.made(parts[0], "aten.pow.Tensor_Scalar") if len(parts) == 1 else None
        if parts == [x, x, x] or (power is not None and power.args[:2] in ((x, 3), (x, 3.0))):
            return True
    return False


def mish(node: Node, matcher: _Matcher) -> Found | None:
    """x tanh(log(1 + e^x))."""
    for x, gate in pair(node, matcher, 1.0):
        tanh = matcher.made(gate, "aten.tanh.default")
        inner = matcher.made(tanh.args[0], "aten.softplus.default") if tanh else None
        if inner is not None and inner.args[0] == x and inner.args[1:2] in ((), (1,), (1.0,)):
            return x, "aten.mish.default", {}
    return None


def hard_swish(node: Node, matcher: _Matcher) -> Found | None:
    """x clip(x + 3, 0, 6) / 6, or x times a hard sigmoid."""
    for x, gate in pair(node, matcher, 1 / 6):
        clip = matcher.made(
            gate, "aten.clamp.default", "aten.relu6.default", "aten.hardtanh.default"
        )
        if clip is not None and (clip.op == "aten.relu6.default" or clip.args[1:3] == (0, 6)):
            of, three = matcher.plus(clip.args[0])
            if of == x and three == 3:
                return x, "aten.hardswish.default", {}
    for x, gate in pair(node, matcher, 1.0):
        made = matcher.made(gate, "aten.hardsigmoid.default")
        if made is not None and made.args[0] == x:
            return x, "aten.hardswish.default", {}
    return None


def softplus(node: Node, matcher: _Matcher) -> Found | None:
    """log(1 + e^x), and x itself where that is the same."""
    if node.op != "aten.where.self":
        return None
    large, x, other = node.args[:3]
    made = matcher.made(other, "aten.softplus.default")
    test = matcher.made(large, "aten.gt.Scalar", "aten.ge.Scalar")
    if made is None or test is None or made.args[0] != x or test.args[0] != x:
        return None
    plain = made.args[1:2] in ((), (1,), (1.0,)) and test.args[1] >= 15
    return (x, made.op, {}) if plain else None


MATCHES: tuple[Callable[[Node, _Matcher], Found | None], ...] = (gelu, mish, hard_swish, softplus)
