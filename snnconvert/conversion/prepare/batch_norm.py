"""Batch norms folded into the convolutions before them: an operation less a layer and step."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import torch
from torch import Tensor

from snnconvert.conversion.graph.nodes import BatchNorm
from snnconvert.conversion.graph.program import Node, Program, Ref
from snnconvert.conversion.rules import argument_at, rule_of, with_bias


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
        norm = BatchNorm.of(node) if BatchNorm.found(node) else None
        conv = by_name.get(norm.input.name) if norm is not None else None
        rule = rule_of(conv.op) if conv is not None else None
        if norm is None or conv is None or rule is None or not rule.folds:
            continue
        if conv.name in program.output_names or len(readers[conv.name]) > 1:
            continue
        weight, bias = (argument_at(conv, place) for place in (rule.weight, rule.bias))
        given = [norm.weight, norm.bias, norm.mean, norm.variance, weight, bias]
        if weight is None or not all(_fixed(value, constants) for value in given):
            continue
        if norm.training or norm.mean is None:  # statistics of the batch itself
            continue
        shared = len(readers[weight.name]) > 1
        names = (f"{node.name}_weight" if shared else weight.name, f"{node.name}_bias")
        merged = _merged(norm, weight, bias, constants)
        constants |= dict(zip(names, merged, strict=True))
        conv = with_bias(conv, Ref(names[1]), Ref(names[0]))
        gone.add(conv.name)
        folded[node.name] = replace(conv, name=node.name)
    nodes = tuple(folded.get(n.name, n) for n in program.nodes if n.name not in gone)
    program = replace(program, nodes=nodes)
    read = {name for node in program.nodes for name in node.refs} | program.output_names
    return program, {name: value for name, value in constants.items() if name in read}


def _fixed(value: Any, constants: Mapping[str, Tensor]) -> bool:
    return value is None or (isinstance(value, Ref) and value.name in constants)


def _merged(
    norm: BatchNorm, weight: Ref, bias: Ref | None, constants: Mapping[str, Tensor]
) -> tuple[Tensor, Tensor]:
    """Weight and bias of the convolution that does both; in float64, rounded once."""

    def value(ref: Ref | None, default: float) -> Tensor:
        if ref is None:
            return torch.tensor(default, dtype=torch.float64)
        return constants[ref.name].detach().double()

    old, mean, variance = (value(r, 0.0) for r in (weight, norm.mean, norm.variance))
    scale = value(norm.weight, 1.0) / (variance + norm.eps).sqrt()
    new_bias = value(norm.bias, 0.0) + (value(bias, 0.0) - mean) * scale
    dtype = constants[weight.name].dtype
    return (old * scale.view(-1, *(1,) * (old.ndim - 1))).to(dtype), new_bias.to(dtype)
