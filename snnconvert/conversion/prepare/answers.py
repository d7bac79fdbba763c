"""Values that are no real numbers: true or false, or whole.

No neuron fires them, and none of the functions that neurons stand for takes them. What makes a
number of one is a function of what was asked.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor
from torch.utils import _pytree as pytree

from snnconvert.conversion.graph.program import Node, Program
from snnconvert.conversion.prepare.scalar_functions import STANDS, is_pointwise
from snnconvert.conversion.rules import is_number, rule_of

ASKS = {"gt", "ge", "lt", "le", "eq", "ne", "logical_and", "logical_or", "logical_not",
        "logical_xor", "bitwise_and", "bitwise_or", "bitwise_not", "bitwise_xor", "greater",
        "greater_equal", "less", "less_equal", "isfinite", "isinf", "isnan", "signbit", "isin",
        "any", "all", "argmax", "argmin", "argsort", "count_nonzero"}  # fmt: skip
KEEP = {"sum", "cumsum", "prod", "amax", "amin"}  # what they read, beside pointwise operations


def answers(program: Program, constants: Mapping[str, Any]) -> set[str]:
    """Names of the values of `program` that are no real numbers, as far as operations tell."""
    dtypes = program.signature.dtypes if program.signature else {}
    found = {name for name, dtype in dtypes.items() if is_whole(dtype)}
    found |= {
        name for name, value in constants.items()
        if isinstance(value, Tensor) and is_whole(value.dtype)
    }  # fmt: skip
    for node in program.nodes:
        if is_answer(node, found):
            found.add(node.name)
    return found


def is_answer(node: Node, known: set[str]) -> bool:
    """Whether `node` gives one, where `known` are those before it."""
    given = pytree.tree_leaves((node.args, dict(node.kwargs)))
    dtypes = [value for value in given if isinstance(value, torch.dtype)]
    if dtypes:
        return is_whole(dtypes[0])
    name = node.short_name
    if name in ASKS or node.op in STANDS:
        return True
    rule = rule_of(node.op)
    if is_number(node):
        return True
    keeps = is_pointwise(node) or name in KEEP or (rule is not None and rule.moves)
    real = any(isinstance(value, float) for value in given) or "div" in name
    return keeps and not real and bool(node.refs) and known.issuperset(node.refs)


def is_whole(dtype: torch.dtype) -> bool:
    return not (dtype.is_floating_point or dtype.is_complex)
