"""Batch norms folded into the convolutions before them: an operation less a layer and step."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import torch
from torch import Tensor

from snnconvert.conversion.graph.program import Node, Program, Ref

BATCH_NORM = "aten.batch_norm.default"
CONVOLUTIONS = {f"aten.conv{n}d.{kind}" for n in (1, 2, 3) for kind in ("default", "padding")}


def fold_batch_norms(
    program: Program, constants: Mapping[str, Tensor]
) -> tuple[Program, dict[str, Tensor]]:
    """`program` and constants without the batch norms that alone read a convolution.

    Running statistics are taken as they are. The result keeps the norm's name, and the weight its
    own unless another operation reads it too.
    """
    readers = program.readers()
    by_name = {node.name: node for node in program.nodes}
    folded: dict[str, Node] = {}
    gone: set[str] = set()
    constants = dict(constants)
    for node in program.nodes:
        conv = by_name.get(node.args[0].name) if node.op == BATCH_NORM else None
        if conv is None or conv.op not in CONVOLUTIONS or conv.name in program.output_names:
            continue
        given = [*node.args[1:5], conv.args[1], *conv.args[2:3]]
        if len(readers[conv.name]) > 1 or not all(_fixed(value, constants) for value in given):
            continue
        if node.args[5] or node.args[3] is None:  # statistics of the batch itself
            continue
        weight, bias = _merged(node, conv, constants)
        shared = len(readers[conv.args[1].name]) > 1
        names = (f"{node.name}_weight" if shared else conv.args[1].name, f"{node.name}_bias")
        constants |= dict(zip(names, (weight, bias), strict=True))
        args = (conv.args[0], *map(Ref, names), *conv.args[3:])
        folded[node.name] = replace(conv, name=node.name, args=args)
        gone.add(conv.name)
    nodes = tuple(folded.get(n.name, n) for n in program.nodes if n.name not in gone)
    program = replace(program, nodes=nodes)
    read = {name for node in program.nodes for name in node.refs} | program.output_names
    return program, {name: value for name, value in constants.items() if name in read}


def _fixed(value: Any, constants: Mapping[str, Tensor]) -> bool:
    return value is None or (isinstance(value, Ref) and value.name in constants)


def _merged(norm: Node, conv: Node, constants: Mapping[str, Tensor]) -> tuple[Tensor, Tensor]:
    """Weight and bias of the convolution that does both; in float64, rounded once."""

    def value(ref: Ref | None, default: float) -> Tensor:
        if ref is None:
            return torch.tensor(default, dtype=torch.float64)
        return constants[ref.name].detach().double()

    weight, mean, variance = (value(r, 0.0) for r in (conv.args[1], norm.args[3], norm.args[4]))
    scale = value(norm.args[1], 1.0) / (variance + norm.args[7]).sqrt()
    bias = value(conv.args[2] if len(conv.args) > 2 else None, 0.0)
    bias = value(norm.args[2], 0.0) + (bias - mean) * scale
    dtype = constants[conv.args[1].name].dtype
    return (weight * scale.view(-1, *(1,) * (weight.ndim - 1))).to(dtype), bias.to(dtype)
