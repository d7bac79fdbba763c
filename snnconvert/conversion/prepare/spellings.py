"""Activations and quantisers recognised in whatever way they are written.

A chain of pointwise operations whose values are those of ReLU, SiLU, GELU and the like is that
activation. One whose values are a staircase of equal steps from 0 (or -ceiling) to a ceiling is our
quantised clip with its ceiling and levels (QCFS, LSQ, PACT, straight-through rounding); where it
goes further down than up or the reverse (-8 ... 7), of a value that is clipped before; without
steps, a clip at a trained ceiling (TCL). Held at 1e-6 of its values, which is their rounding.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, replace

import torch
from torch import Tensor
from torch.nn import functional

from snnconvert.conversion.graph.nodes import Clip, ceiling_name
from snnconvert.conversion.graph.program import Node, Program, Ref
from snnconvert.conversion.prepare.answers import answers
from snnconvert.conversion.prepare.scalar_functions import (
    PROBES,
    STANDS,
    ScalarFunction,
    ScalarFunctions,
)
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
    """`ceiling * clamp(floor(levels * x / ceiling + start), low, high) / levels`.

    Attributes:
        ceiling: as it broadcasts over the value.
        levels: 0 for a clip without steps.
        start: where it rounds; 1/2 to the nearest.
        low: 0, or where spikes of both signs are needed, at least -levels.
        high: at most levels; one of the two ends is as far from 0 as they are.
    """

    ceiling: Tensor
    levels: int
    start: float = 1 / 2
    low: int = 0
    high: int = 0


def recognise_spellings(
    program: Program, constants: dict[str, Tensor], fixed: Mapping[str, Tensor]
) -> tuple[Program, dict[str, Tensor]]:
    """`program` with what spells an activation or a quantiser behind weights in its usual form.

    Args:
        fixed: values of everything that depends on no input.
    """
    weighted = {node.name for node in program.nodes if has_weights(node)}
    search = ScalarFunctions(program, fixed)
    reached = program.downstream_of(weighted) - answers(program, fixed)
    added: dict[str, Tensor] = {}
    made: dict[str, list[Node]] = {}
    gone: set[str] = set()  # operations that only what was recognised reads
    readers = program.readers()
    for node in reversed(program.nodes):
        if node.name in gone or node.name not in reached or not may_end(node):
            continue
        functions = [f for f in search.ending_in(node) if f.source in reached]
        found = _usual(functions, node)
        if found is not None:
            function, nodes, values = found
            made[node.name] = nodes
            added |= values
            gone |= read_inside(function, readers, program.output_names)
    nodes = [n for node in program.nodes for n in made.get(node.name, [node])]
    place = next((v.device for v in constants.values()), torch.device("cpu"))
    return replace(program, nodes=tuple(nodes)), constants | {
        name: value.to(place) for name, value in added.items()
    }


def read_inside(
    function: ScalarFunction, readers: Mapping[str, Sequence[Node]], outputs: Collection[str]
) -> set[str]:
    """Its operations that nothing else reads: another may be an activation of its own."""
    inside = {node.name for node in function.nodes}
    for node in reversed(function.nodes[:-1]):
        if node.name in outputs:
            inside.discard(node.name)
        if any(reader.name not in inside for reader in readers.get(node.name, ())):
            inside.discard(node.name)
    return inside


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
    return node.op in STANDS or (rule is not None and rule.kind in ("accumulated", "fires"))


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
    if not flat or not bool((top > 0).all()) or bool((low > 10 * CLOSE).any()):
        return None
    bound = torch.maximum(top, -low)
    if bool((bound > FAR / 10).any()):
        return None
    share = (low / bound).flatten()[0], (top / bound).flatten()[0]  # alike in every channel
    if not torch.allclose(low, share[0] * bound, atol=CLOSE * 10):
        return None
    if not torch.allclose(top, share[1] * bound, atol=CLOSE * 10):
        return None
    u = torch.linspace(-1.2511, 1.2507, 16384, dtype=torch.float64)
    u = u.view(-1, *(1,) * top.ndim)
    values = function.at(u * bound)
    if values is None:
        return None
    ratio = values / bound
    close = 10 * CLOSE
    if bool(((ratio - u.clamp(*map(float, share))).abs() < close).all()):
        return Staircase(bound, 0) if abs(share[0]) < close else None
    steps = ratio.flatten(1)[:, 0] if ratio.ndim > 1 else ratio
    steps = steps.sort().values
    apart = 1 + int((steps.diff() > close).sum())  # values that it has, both ends among them
    levels = round(float((apart - 1) / (share[1] - share[0])))
    whole = ratio * levels
    if not 2 <= levels <= LEVELS or bool(((whole - whole.round()).abs() > 1e-3).any()):
        return None
    start = _start(function, bound, levels)
    if start is None:
        return None
    down, up = (round(float(end) * levels) for end in share)
    exact = u * levels + start
    wanted = exact.floor().clamp(down, up) / levels
    away = (exact - exact.round()).abs() > 1e-3  # from the edges, where rounding decides
    if bool(((ratio - wanted).abs() > close).logical_and(away).any()):
        return None
    return Staircase(bound, levels, start, down, up)


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
    steps, source = _before(stair, node, source, Ref(name))
    clip = Clip(source, Ref(name), stair.levels, stair.low < 0)
    return [*steps, clip.node(node.name, node.layer)], {name: as_ceiling(bound)}


def _before(stair: Staircase, node: Node, source: Ref, ceiling: Ref) -> tuple[list[Node], Ref]:
    """What a quantised clip reads so that it rounds and ends where `stair` does; its result.

    In ceilings, which may go on learning.
    """
    made: list[Node] = []

    def add(step: str, op: str, *reads: object) -> Ref:
        made.append(Node(f"{node.name}_{step}", f"aten.{op}", reads, {}, node.layer))
        return Ref(made[-1].name)

    ends = {"low": stair.low, "high": stair.high}
    short = {end: steps for end, steps in ends.items() if steps and abs(steps) < stair.levels}
    if stair.start == 1 / 2 and not short:
        return [], source
    laid_out = add("laid_out", "view.default", ceiling, list(stair.ceiling.shape))
    if stair.start != 1 / 2:  # rounds elsewhere: to the nearest, of a value that is shifted
        shift = add("shift", "mul.Tensor", laid_out, (stair.start - 1 / 2) / stair.levels)
        source = add("shifted", "add.Tensor", source, shift)
    for end, steps in short.items():
        bound = add(end, "mul.Tensor", laid_out, steps / stair.levels)
        op = "minimum.default" if end == "high" else "maximum.default"
        source = add(f"{end}_held", op, source, bound)
    return made, source
