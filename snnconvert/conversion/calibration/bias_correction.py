"""Bias correction: each channel's mean in the quantised network is brought back to the float one's.

In order of execution, the mean over data and positions of what enters each calibrated activation,
and of each output, is compared in both networks on the same inputs; the difference is added to the
bias. Errors that earlier layers made in the mean are thus gone before the next layer adds its own
(Nagel et al. 2019; "light" calibration of Li et al. 2021).
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from typing import Any

import torch
from torch import Tensor

from snnconvert.conversion.calibration.start_potential import StartFit, with_starts
from snnconvert.conversion.execution.interpreter import Interpreter
from snnconvert.conversion.execution.undefined import is_defined
from snnconvert.conversion.graph.program import Node, Program, Ref
from snnconvert.conversion.graph.values import substitute
from snnconvert.conversion.prepare.scalar_functions import PROBES, ScalarFunctions, is_pointwise
from snnconvert.conversion.prepare.sites import Site, channel_axis
from snnconvert.conversion.rules import argument_at, rule_of, with_bias


@torch.no_grad()
def adjust(
    plain: Program,
    quantised: Program,
    constants: Mapping[str, Tensor],
    sites: Sequence[Site],
    calls: Iterable[list[Tensor]],
    plain_constants: Mapping[str, Tensor],
    *,
    bias: bool = True,
    starts: Mapping[str, StartFit] | None = None,
) -> tuple[Program, dict[str, Tensor]]:
    """The quantised network with corrected biases and fitted starts, and its constants.

    Args:
        plain, quantised: the network before and after its activations were quantised.
        constants: of the quantised one; plain_constants: of the other.
        sites: the calibrated activations.
        calls: inputs, a representative sample of them in each call.
        bias: whether to correct biases.
        starts: clips whose start is fitted, behind the corrected bias of what they read.
    """
    points = correction_points(plain, plain_constants, sites) if bias else {}
    fits = starts or {}
    whole = Interpreter(plain)
    rounded = Interpreter(quantised, {name: fit.clip for name, fit in fits.items()})
    totals: dict[str, Tensor] = {}
    weight = 0
    for call in calls:
        wanted: dict[str, Tensor] = {}
        found: dict[str, Tensor] = {}

        def see(node: Node, value: Any, wanted: dict[str, Tensor] = wanted) -> Any:
            if node.name in points:
                wanted[node.name] = channel_mean(value, points[node.name])
            if node.name in fits:
                fits[node.name].wanted = value
            return value

        def correct(
            node: Node,
            value: Any,
            wanted: dict[str, Tensor] = wanted,
            found: dict[str, Tensor] = found,
        ) -> Any:
            if node.name not in points or not value.is_floating_point():  # an answer has no bias
                return value
            found[node.name] = wanted[node.name] - channel_mean(value, points[node.name])
            return value + found[node.name]

        whole.run(plain_constants, call, see)
        rounded.run(constants, call, correct)
        rows = len(call[0]) if call[0].ndim else 1
        weight += rows
        for name, value in found.items():
            totals[name] = totals.get(name, torch.zeros_like(value)) + rows * value
    corrections = {name: total / max(1, weight) for name, total in totals.items()}
    started, new = with_starts(quantised, constants, fits)
    return absorb(started, new, corrections)


def correction_points(
    program: Program, constants: Mapping[str, Tensor], sites: Sequence[Site]
) -> dict[str, int]:
    """Values to correct, with their channel axis: inputs of calibrated sites, and outputs.

    Not what a root or a logarithm reads, which a shifted value may have none of.
    """
    by_name = {node.name: node for node in program.nodes}
    named = {site.source for site in sites if site.needs_ceiling and site.source is not None}
    named = (named | program.output_names) & set(by_name) - narrow(program, constants)
    axes = {n: channel_axis(node, by_name) for n, node in by_name.items() if n in named}
    return {name: axis for name, axis in axes.items() if axis is not None}


def narrow(program: Program, constants: Mapping[str, Tensor]) -> set[str]:
    """Values that a function reads which is not defined on all numbers."""
    search, every = ScalarFunctions(program, constants), {node.name for node in program.nodes}
    found = set()
    for node in program.nodes:
        if is_pointwise(node) and not is_defined(node, every):
            for function in search.ending_in(node):
                values = function.at(PROBES)
                if values is not None and not bool(values.isfinite().all()):
                    found.add(function.source)
    return found


def channel_mean(value: Tensor, axis: int) -> Tensor:
    """Mean per channel, in a shape that broadcasts over `value`; 0 of fewer axes and of answers."""
    if value.ndim < 2 or not value.is_floating_point():
        return torch.zeros_like(value[:1])
    axis %= value.ndim
    return value.mean([i for i in range(value.ndim) if i != axis], keepdim=True)


def absorb(
    program: Program, constants: dict[str, Tensor], corrections: Mapping[str, Tensor]
) -> tuple[Program, dict[str, Tensor]]:
    """`program` with each correction added to its value: in a bias where that is possible."""
    readers = {name: len(nodes) for name, nodes in program.readers().items()}
    for name in program.output_names:
        readers[name] = readers.get(name, 0) + 1
    by_name = {node.name: node for node in program.nodes}
    extra: dict[str, str] = {}
    for name, correction in corrections.items():
        holder = bias_holder(name, by_name, readers, constants)
        if holder is None:
            extra[name] = f"{name}_correction"
            constants[extra[name]] = correction
            continue
        old = _bias_of(holder)
        bias = f"{holder.name}_bias"
        flat = correction.flatten()
        constants[bias] = flat if old is None else constants[old.name] + flat
        by_name[holder.name] = with_bias(holder, Ref(bias))
    return _with_additions(program, by_name, extra), constants


def _with_additions(
    program: Program, by_name: Mapping[str, Node], extra: Mapping[str, str]
) -> Program:
    """Insert an addition behind every value that no bias could take the correction of."""
    renamed: dict[str, Ref] = {}

    def now(ref: Ref) -> Ref:
        return renamed.get(ref.name, ref)

    nodes: list[Node] = []
    for old in program.nodes:
        node = by_name[old.name]
        kwargs = {key: substitute(value, now) for key, value in node.kwargs.items()}
        nodes.append(
            replace(node, args=tuple(substitute(a, now) for a in node.args), kwargs=kwargs)
        )
        if node.name in extra:
            renamed[node.name] = Ref(f"{node.name}_corrected")
            sum_of = (Ref(node.name), Ref(extra[node.name]))
            nodes.append(Node(renamed[node.name].name, "aten.add.Tensor", sum_of, {}, node.layer))
    return replace(program, nodes=tuple(nodes), output=substitute(program.output, now))


def bias_holder(
    name: str,
    by_name: Mapping[str, Node],
    readers: Mapping[str, int],
    constants: Mapping[str, Tensor],
) -> Node | None:
    """The operation whose bias adds to every reader of value `name`, and to nothing else."""
    node = by_name.get(name)
    if node is None:
        return None
    rule = rule_of(node.op)
    if rule is not None and rule.bias is not None:
        bias = _bias_of(node)
        return node if bias is None or (isinstance(bias, Ref) and bias.name in constants) else None
    if node.op == "aten.add.Tensor" and not node.kwargs:
        for operand in node.args:
            if isinstance(operand, Ref) and readers.get(operand.name) == 1:
                holder = bias_holder(operand.name, by_name, readers, constants)
                if holder is not None:
                    return holder
    return None


def _bias_of(node: Node) -> Any:
    rule = rule_of(node.op)
    return None if rule is None else argument_at(node, rule.bias)
