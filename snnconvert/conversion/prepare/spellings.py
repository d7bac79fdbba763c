"""Activations and quantisers recognised in whatever way they are written.

A chain of pointwise operations whose values are those of ReLU, SiLU, GELU and the like is that
activation. One whose values are a staircase of equal steps from 0 (or -ceiling) to a ceiling is our
quantised clip with its ceiling and levels (QCFS, LSQ, PACT, straight-through rounding); without
steps, a clip at a trained ceiling (TCL). Held at 1e-6 of its values, which is their rounding.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace

import torch
from torch import Tensor
from torch.nn import functional

from snnconvert.conversion.graph.nodes import Clip, ceiling_name
from snnconvert.conversion.graph.program import Node, Program, Ref
from snnconvert.conversion.prepare.scalar_functions import PROBES, ScalarFunction, ScalarFunctions
from snnconvert.conversion.rules import has_weights, rule_of
from snnconvert.operators.clip import as_ceiling

CLOSE = 1e-6
FAR = 1e6  # where every clip is at its end
LEVELS = 1023  # the most that are looked for; one is a switch, no quantiser

KNOWN: dict[str, tuple[tuple[float, ...], dict[str, str], Callable[[Tensor], Tensor]]] = {
    "aten.relu.default": ((), {}, torch.relu),
    "aten.silu.default": ((), {}, functional.silu),
    "aten.gelu.default": ((), {}, functional.gelu),
    "aten.gelu.default tanh": (
        (), {"approximate": "tanh"}, lambda x: functional.gelu(x, approximate="tanh")
    ),
    "aten.mish.default": ((), {}, functional.mish),
    "aten.hardswish.default": ((), {}, functional.hardswish),
    "aten.sigmoid.default": ((), {}, torch.sigmoid),
    "aten.tanh.default": ((), {}, torch.tanh),
    "aten.softplus.default": ((), {}, functional.softplus),
}  # fmt: skip


@dataclass(frozen=True)
class Staircase:
    """`ceiling * clamp(floor(levels * x / ceiling + start), low, levels) / levels`.

    Attributes:
        ceiling: as it broadcasts over the value.
        levels: 0 for a clip without steps.
        start: where it rounds; 1/2 to the nearest.
    """

    ceiling: Tensor
    levels: int
    signed: bool
    start: float


def recognise_spellings(
    program: Program, constants: dict[str, Tensor], fixed: Mapping[str, Tensor]
) -> tuple[Program, dict[str, Tensor]]:
    """`program` with what spells an activation or a quantiser behind weights in its usual form.

    Args:
        fixed: values of everything that depends on no input.
    """
    weighted = {node.name for node in program.nodes if has_weights(node)}
    search = ScalarFunctions(program, fixed)
    reached = program.downstream_of(weighted)
    added: dict[str, Tensor] = {}
    made: dict[str, list[Node]] = {}
    gone: set[str] = set()  # operations inside what was recognised
    for node in reversed(program.nodes):
        if node.name in gone or node.name not in reached or not may_end(node):
            continue
        functions = [f for f in search.ending_in(node) if f.source in reached]
        found = _usual(functions, node)
        if found is not None:
            function, nodes, values = found
            made[node.name] = nodes
            added |= values
            gone |= {inner.name for inner in function.nodes}
    nodes = [n for node in program.nodes for n in made.get(node.name, [node])]
    place = next((v.device for v in constants.values()), torch.device("cpu"))
    return replace(program, nodes=tuple(nodes)), constants | {
        name: value.to(place) for name, value in added.items()
    }


def may_end(node: Node) -> bool:
    """Whether a spelling may end in `node`: not in what is an activation by itself."""
    rule = rule_of(node.op)
    return rule is not None and rule.kind != "fires" and node.op not in KNOWN


def _usual(
    functions: list[ScalarFunction], node: Node
) -> tuple[ScalarFunction, list[Node], dict[str, Tensor]] | None:
    """The function of these that is known, the operations it is, and their constants."""
    functions = [f for f in functions if any(map(is_curved, f.nodes))]
    for function in reversed(functions):  # the farthest source first
        known = _activation(function, node)
        if known is not None:
            return function, [known], {}
    stairs = [(function, _staircase(function)) for function in reversed(functions)]
    right = [(f, s) for f, s in stairs if s is not None and s.start == 1 / 2]
    shifted = [(f, s) for f, s in reversed(stairs) if s is not None]
    for function, stair in (*right, *shifted):
        return function, *_clip_nodes(function, stair, node)
    return None


def is_curved(node: Node) -> bool:
    """Whether `node` does not commute with the mean by itself."""
    rule = rule_of(node.op)
    return rule is not None and rule.kind in ("accumulated", "fires")


def _activation(function: ScalarFunction, node: Node) -> Node | None:
    if function.shape.count(1) != len(function.shape):
        return None
    found = function.at(PROBES)
    if found is None or not bool(found.isfinite().all()):
        return None
    found = found.flatten()
    for name, (args, kwargs, known) in KNOWN.items():
        if torch.allclose(found, known(PROBES.double()), rtol=CLOSE, atol=CLOSE):
            op = name.split(" ")[0]
            return Node(node.name, op, (Ref(function.source), *args), dict(kwargs), node.layer)
    return None


def _staircase(function: ScalarFunction) -> Staircase | None:
    ends = function.at(torch.tensor([FAR, 2 * FAR, -FAR, -2 * FAR]))
    if ends is None or not bool(ends.isfinite().all()):
        return None
    top, low = ends[0], ends[2]
    flat = torch.allclose(ends[0], ends[1], rtol=CLOSE) and torch.allclose(ends[2], ends[3])
    signed = bool((low < -CLOSE * top).any())
    if not flat or not bool((top > 0).all()) or bool((top > FAR / 10).any()):
        return None
    if not torch.allclose(low, -top if signed else torch.zeros_like(top), atol=CLOSE * 10):
        return None
    u = torch.linspace(-1.2511, 1.2507, 16384, dtype=torch.float64)
    u = u.view(-1, *(1,) * top.ndim)
    values = function.at(u * top)
    if values is None:
        return None
    ratio = values / top
    close = 10 * CLOSE
    if bool(((ratio - u.clamp(-1 if signed else 0, 1)).abs() < close).all()):
        return None if signed else Staircase(top, 0, False, 1 / 2)
    steps = ratio.flatten(1)[:, 0] if ratio.ndim > 1 else ratio
    steps = steps[steps > close]
    if not len(steps):
        return None
    levels = 1 + int((steps.sort().values.diff() > close).sum())
    whole = ratio * levels
    if not 2 <= levels <= LEVELS or bool(((whole - whole.round()).abs() > 1e-3).any()):
        return None
    start = _start(function, top, levels)
    if start is None:
        return None
    exact = u * levels + start
    wanted = exact.floor().clamp(-levels if signed else 0, levels) / levels
    away = (exact - exact.round()).abs() > 1e-3  # from the edges, where rounding decides
    if bool(((ratio - wanted).abs() > close).logical_and(away).any()):
        return None
    return Staircase(top, levels, signed, start)


def _start(function: ScalarFunction, top: Tensor, levels: int) -> float | None:
    """Where the first step up is, as the start of a potential; None where it differs by channel."""
    lower, upper = torch.zeros_like(top) - 1 / levels, torch.ones_like(top) * 1.5 / levels
    for _ in range(40):
        middle = (lower + upper) / 2
        value = function.at((middle * top)[None])
        if value is None:
            return None
        below = value[0] < top / levels / 2
        lower, upper = torch.where(below, middle, lower), torch.where(below, upper, middle)
    start = 1 - levels * upper
    snapped = (start * 1024).round() / 1024
    if not torch.allclose(start, snapped, atol=1e-5) or float(snapped.max() - snapped.min()) > 0:
        return None
    return float(snapped.flatten()[0])


def _clip_nodes(
    function: ScalarFunction, stair: Staircase, node: Node
) -> tuple[list[Node], dict[str, Tensor]]:
    """The operations that `stair` is, the last of them in the place of `node`."""
    source, bound = Ref(function.source), stair.ceiling.float()
    if not stair.levels and not function.reads_tensors:
        ends = (source, 0.0, float(bound.flatten()[0]))
        return [Node(node.name, "aten.clamp.default", ends, {}, node.layer)], {}
    name = ceiling_name(node.name)
    if not stair.levels:
        zero = f"{node.name}_zero"
        args = (source, Ref(zero), Ref(name))
        made = Node(node.name, "aten.clamp.Tensor", args, {}, node.layer)
        return [made], {name: bound, zero: torch.zeros(())}
    values, nodes = {name: as_ceiling(bound)}, []
    if stair.start != 1 / 2:  # rounds elsewhere: to the nearest, of a value that is shifted
        start = (stair.start - 1 / 2) / stair.levels  # in ceilings, which may go on learning
        steps: dict[str, tuple[str, tuple[object, ...]]] = {
            "laid_out": ("aten.view.default", (Ref(name), list(bound.shape))),
            "shift": ("aten.mul.Tensor", (Ref(f"{node.name}_laid_out"), start)),
            "shifted": ("aten.add.Tensor", (source, Ref(f"{node.name}_shift"))),
        }
        for step, (op, reads) in steps.items():
            nodes.append(Node(f"{node.name}_{step}", op, reads, {}, node.layer))
        source = Ref(f"{node.name}_shifted")
    clip = Clip(source, Ref(name), stair.levels, stair.signed)
    return [*nodes, clip.node(node.name, node.layer)], values
