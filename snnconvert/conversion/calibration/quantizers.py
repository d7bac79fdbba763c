"""Quantised clips in the places of activations, with the ceilings that calibration found."""

from __future__ import annotations

from dataclasses import replace

from torch import Tensor

from snnconvert.conversion.calibration.over_t import EDGES, OverT
from snnconvert.conversion.graph.nodes import Clip, before_name, ceiling_name
from snnconvert.conversion.graph.program import Node, Program, Ref
from snnconvert.conversion.prepare.sites import Site


def place_quantizers(
    program: Program,
    constants: dict[str, Tensor],
    sites: list[Site],
    ceilings: dict[str, Tensor],
    levels: int,
    over_t: OverT | None = None,
) -> tuple[Program, dict[str, Tensor]]:
    """The quantised network: a quantised clip in place of, or behind, every activation.

    `over_t`: the ceilings are tables over t; each clip gets the row of its samples' t.
    """
    by_name = {site.node.name: site for site in sites if site.activation is not None}
    nodes: list[Node] = []
    constants = dict(constants)
    if over_t is not None:
        constants[EDGES] = over_t.edges
    for node in program.nodes:
        site = by_name.get(node.name)
        if site is None or site.activation is None:
            nodes.append(node)
            continue
        given = site.activation.ceiling
        ceiling = ceiling_name(node.name)
        constants[ceiling] = ceilings[node.name] if given is None else given
        source = node.args[0]
        if site.function is not None:
            source = Ref(before_name(node.name))
            nodes.append(replace(node, name=source.name))
        if over_t is not None and given is None:
            nodes.append(over_t.lookup(f"{ceiling}_at_t", ceiling, node.layer))
            ceiling = nodes[-1].name
        clip = Clip(source, Ref(ceiling), levels, site.activation.signed)
        nodes.append(clip.node(node.name, node.layer))
    return replace(program, nodes=tuple(nodes)), constants
