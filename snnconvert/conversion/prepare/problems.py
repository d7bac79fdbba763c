"""Every reason why a captured network cannot be converted, all at once and by layer name."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from snnconvert.conversion.capture.captured import Captured
from snnconvert.conversion.capture.usual_form import READ_OUT
from snnconvert.conversion.graph.nodes import BatchNorm
from snnconvert.conversion.graph.program import Node, Program
from snnconvert.conversion.prepare.sites import Site
from snnconvert.conversion.rules import REMEDY, Rule, has_weights, listed_rule, rule_of
from snnconvert.errors import UnsupportedOpError

OF_NUMBERS = "operator."  # what the functions of Python's numbers are called by
LISTED = 40  # problems printed in one error


@dataclass(frozen=True)
class Problem:
    """One operation that stands in the way.

    Attributes:
        layer: dotted path of the module that calls it.
        op: its ATen name.
        reason: why it cannot be converted as it is.
        remedy: what to do.
    """

    layer: str
    op: str
    reason: str
    remedy: str

    def __str__(self) -> str:
        return f"{self.layer or '(root)'}: {self.op}: {self.reason}; {self.remedy}"


def refuse_problems(
    name: str, program: Program, constants: Mapping[str, Tensor], sites: Sequence[Site],
    captured: Captured,
) -> None:  # fmt: skip
    """UnsupportedOpError that lists every problem, where there are any."""
    problems = find_problems(program, constants, sites, captured)
    if len(problems) == 1:
        raise UnsupportedOpError(f"{name} cannot be converted: {problems[0]}")
    if problems:
        lines = "".join(f"\n  {problem}" for problem in problems[:LISTED])
        more = f"\n  and {len(problems) - LISTED} more" if len(problems) > LISTED else ""
        raise UnsupportedOpError(f"{name} cannot be converted:{lines}{more}")


def find_problems(
    program: Program, constants: Mapping[str, Tensor], sites: Sequence[Site], captured: Captured
) -> list[Problem]:
    """Problems of `program` in execution order; empty when it can be converted.

    Args:
        sites: where its neurons would go.
        captured: as it was captured, with the user's names of the constants.
    """
    problems = _value_problems(program, constants, captured.trainable, captured.paths)
    dynamic = program.downstream_of({site.node.name for site in sites})
    weighed = dynamic & program.upstream_of({n.name for n in program.nodes if has_weights(n)})
    for node in program.nodes:
        problem = _problem(node, node.name in weighed)
        if problem is not None:
            problems.append(problem)
    if not sites and not problems:
        problems.append(Problem(
            "", "(none)", "there is no activation that neurons could replace",
            "a spiking network needs at least one ReLU, SiLU, GELU or quantised activation "
            "between two layers with weights",
        ))  # fmt: skip
    return problems


def _problem(node: Node, weighed: bool) -> Problem | None:
    """What is wrong with a node.

    weighed: whether it depends on spikes, and weights on it. What the output alone reads may be
        any function of what has accumulated.
    """
    rule = rule_of(node.op)
    misplaced = rule is not None and rule.kind == "static" and weighed
    if rule is None or not rule.converts or (misplaced and listed_rule(node.op) is None):
        return Problem(node.layer, node.op.removeprefix(OF_NUMBERS), *_no_rule(node.op, rule))
    if misplaced:
        return Problem(
            node.layer, node.op, "depends on spikes but only makes sense without them",
            "move it before the first activation, or behind the last weights",
        )  # fmt: skip
    if BatchNorm.found(node) and BatchNorm.of(node).training:
        return Problem(
            node.layer, node.op, "uses the statistics of each batch",
            "keep running statistics (track_running_stats=True)",
        )  # fmt: skip
    return None


def _no_rule(op: str, known: Rule | None) -> tuple[str, str]:
    if known is not None and known.dropout:
        return "is on in evaluation mode too", "use nn.Dropout, or pass training=self.training"
    if known is not None and known.random:
        return "draws random numbers in every call", "draw them outside and pass them as an input"
    if "higher_order" in op or op in ("cond", "while_loop", "map_impl", "scan"):
        return "is control flow inside the network", "unroll it, or use torch.where"
    if op in READ_OUT or op.startswith(OF_NUMBERS):  # such as `round`
        return "makes a number of Python of what it computes", "keep it a tensor, without item()"
    return "has no conversion rule", REMEDY


def _value_problems(
    program: Program, constants: Mapping[str, Tensor], trainable: Collection[str],
    paths: Mapping[str, str],
) -> list[Problem]:  # fmt: skip
    """Weights that no conversion can be right with, one problem for all of a kind."""
    wrong: dict[tuple[str, str], list[str]] = {}
    for name, value in constants.items():
        fault = _fault(value, name in trainable)
        if fault is not None:
            wrong.setdefault(fault, []).append(name)
    problems = []
    for fault, names in wrong.items():
        more = f" and {len(names) - 1} more tensors" if len(names) > 1 else ""
        named = paths.get(names[0], names[0])
        problems.append(Problem(_reader(program, names[0]), f"{named}{more}", *fault))
    return problems


def _fault(value: Tensor, trainable: bool) -> tuple[str, str] | None:
    """(reason, remedy) where a weight cannot be right; None where it may be."""
    if not value.is_floating_point():
        return None
    if value.dtype in (torch.float16, torch.bfloat16):
        kind = str(value.dtype).removeprefix("torch.")
        return f"is {kind}", "convert in float32: model.float()"
    if bool(value.isnan().any()):
        return "holds NaN", "load intact weights, or train again"
    infinite = value.isinf()
    mask = not trainable and bool((value[infinite] < 0).all())  # an attention mask
    if bool(infinite.any()) and not mask:
        return "holds infinite values", "load intact weights"
    return None


def _reader(program: Program, name: str) -> str:
    return next((node.layer for node in program.nodes if name in node.refs), "")
