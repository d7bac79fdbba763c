"""Ceilings that a network learns by itself, in quantisers and clips of its own spelling."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

from torch import Tensor

from snnconvert.conversion.capture.captured import Captured
from snnconvert.conversion.graph.nodes import Clip
from snnconvert.conversion.graph.owned import seen_as
from snnconvert.conversion.graph.program import Node, Program, Ref, substitute
from snnconvert.operators.clip import as_ceiling


def own_ceilings(captured: Captured, quantised: Program) -> dict[str, frozenset[str]]:
    """The trained parameters behind each ceiling that was recognised, by the ceiling's name.

    Args:
        captured: as the network was captured.
        quantised: its program with quantised clips.
    """
    nodes = {node.name: node for node in quantised.nodes}
    known = {node.name: node for node in captured.program.nodes}
    found = {}
    for node in quantised.nodes:
        if not Clip.found(node) or node.name not in known:
            continue
        clip = Clip.of(node)
        source = clip.input.name
        while source in nodes and source not in known:  # a shift of our own
            source = nodes[source].refs[0]
        behind = captured.trainable & computed_of(known, node.name, source)
        if behind and clip.ceiling.name not in captured.constants:
            found[clip.ceiling.name] = frozenset(behind)
    return found


def computed_of(nodes: Mapping[str, Node], last: str, source: str) -> set[str]:
    """Names of all that `last` is computed of, back to `source` and no farther."""
    found = {source}
    waiting = [last]
    while waiting:
        name = waiting.pop()
        if name not in found:
            found.add(name)
            waiting += nodes[name].refs if name in nodes else []
    return found - {source}


def joined_ceilings(
    captured: Captured, quantised: Program, constants: Mapping[str, Tensor]
) -> tuple[Program, dict[str, Tensor]]:
    """One ceiling where the same parameter is that of several clips, so that it stays one."""
    firsts: dict[str, str] = {}
    seen: list[tuple[frozenset[str], str]] = []
    for ceiling, behind in own_ceilings(captured, quantised).items():
        value = constants[ceiling]
        alike = (first for other, first in seen if other == behind)
        first = next((name for name in alike if same(constants[name], value)), None)
        if first is None:
            seen.append((behind, ceiling))
        else:
            firsts[ceiling] = first
    if not firsts:
        return quantised, dict(constants)

    def joined(ref: Ref) -> Ref:
        return Ref(firsts.get(ref.name, ref.name))

    nodes = tuple(
        replace(node, args=substitute(node.args, joined), kwargs=substitute(node.kwargs, joined))
        for node in quantised.nodes
    )
    kept = {name: value for name, value in constants.items() if name not in firsts}
    return replace(quantised, nodes=nodes), kept


def same(one: Tensor, other: Tensor) -> bool:
    """Whether they are equal, in shape too."""
    return one.shape == other.shape and bool(one.eq(other).all())


def learned_again(
    captured: Captured, quantised: Program, constants: dict[str, Tensor]
) -> tuple[Captured, dict[str, Tensor]]:
    """What is to be trained, with the ceilings that the network learned by itself among it.

    A ceiling that is a parameter as it stands keeps the parameter's name and shape; one that is
    computed from others is a parameter of its own. Those others are gone.
    """
    constants, paths = dict(constants), dict(captured.paths)
    gone, lost = set[str](), set[str]()
    read = {name for node in quantised.nodes for name in node.refs} | quantised.output_names
    ceilings = own_ceilings(captured, quantised)
    for ceiling, behind in ceilings.items():
        unread = behind - read - gone
        gone |= unread
        for name in unread:
            if is_ceiling(captured.constants[name], constants[ceiling]):
                constants[ceiling], paths[ceiling] = captured.constants[name], paths[name]
            else:
                lost.add(name)
    others = {seen_as(captured.constants[name]) for name in lost}  # their other names
    gone |= {
        name
        for name in captured.trainable & set(constants) - read
        if seen_as(captured.constants[name]) in others
    }
    wanted = (read | set(captured.paths)) - gone
    kept = {name: value for name, value in constants.items() if name in wanted}
    trainable = (captured.trainable - gone) | set(ceilings)
    return replace(captured, paths=paths, trainable=trainable), kept


def is_ceiling(parameter: Tensor, ceiling: Tensor) -> bool:
    """Whether a parameter, in the shape that it has, is that ceiling."""
    if parameter.ndim == 1 and parameter.numel() > 1:  # of the last axis, not of channels
        return False
    own = as_ceiling(parameter)
    return same(own, ceiling)
