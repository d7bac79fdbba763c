"""Every reason why a captured network cannot be converted, all at once and by layer name."""

from __future__ import annotations

from dataclasses import dataclass

from snnconvert.conversion.program import Program
from snnconvert.conversion.rules import RULES

ACTIVATIONS = {"relu", "relu_", "relu6", "hardtanh", "clamp", "clamp_min", "leaky_relu", "elu"}


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


def find_problems(program: Program) -> list[Problem]:
    """Problems of `program` in execution order; empty when it can be converted."""
    firing = {n.name for n in program.nodes if n.op in RULES and RULES[n.op].kind == "fires"}
    dynamic = program.downstream_of(firing)
    problems = []
    for node in program.nodes:
        if node.op not in RULES:
            problems.append(Problem(node.layer, node.op, *_no_rule(node.op)))
        elif RULES[node.op].kind == "static" and node.name in dynamic:
            problems.append(Problem(
                node.layer, node.op, "depends on spikes but only makes sense without them",
                "move it before the first activation",
            ))  # fmt: skip
        elif node.op == "aten.batch_norm.default" and node.args[5]:
            problems.append(Problem(
                node.layer, node.op, "uses the statistics of each batch",
                "keep running statistics (track_running_stats=True)",
            ))  # fmt: skip
    if not firing and not problems:
        problems.append(Problem(
            "", "(none)", "there is no quantised activation that neurons could replace",
            "use snnconvert.quantizer.QuantizedClip for activations and train it",
        ))  # fmt: skip
    return problems


def _no_rule(op: str) -> tuple[str, str]:
    short = op.split(".")[1] if op.count(".") == 2 else op
    if short in ACTIVATIONS:
        return (
            "an activation without learned ceiling has no threshold",
            "use snnconvert.quantizer.QuantizedClip and train, as `snnconvert train` does",
        )
    return "has no conversion rule", "replace the layer, or add a rule to conversion/rules.py"
