"""Chains of pointwise operations that are one function of one value, however they are written.

`torch.where(x > 0, x, 0)`, `x * (x > 0)` and `(x + x.abs()) / 2` are the same function of x; a
quantiser may take ten operations. A function of a number is known by its values: it is evaluated,
not read.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from snnconvert.conversion.execution.executor import call_of
from snnconvert.conversion.graph.program import Node, Program
from snnconvert.conversion.graph.values import references
from snnconvert.conversion.rules import is_number
from snnconvert.conversion.rules.by_default import operator_named

MASKED = "aten.index_put.default"  # pointwise where its index is a mask: x[x < 0] = 0
LARGEST = 40  # operations of one function
# pointwise too, though PyTorch does not say so
ALSO = {"aten.clone.default", "aten.detach.default", "aten.alias.default", "aten.to.dtype",
        "aten._to_copy.default", "aten.to.dtype_layout", "aten.type_as.default",
        "aten.zeros_like.default", "aten.ones_like.default", "aten.full_like.default",
        "aten.hardswish.default", "aten.softplus.default", "aten.threshold.default",
        "aten.floor_divide.default",
        "aten.lift_fresh_copy.default", "aten.heaviside.default", "aten.expand_as.default",
        "aten.masked_fill.Scalar", "aten.masked_fill.Tensor", "aten.contiguous.default",
        "aten.silu.default", "aten.gelu.default", "aten.mish.default", "aten.hardtanh.default",
        "aten.relu6.default", "aten.leaky_relu.default", "aten.elu.default",
        "aten.log_sigmoid.default", "aten.where.ScalarOther", "aten.where.ScalarSelf",
        "aten.where.Scalar"}  # fmt: skip
# where a value stands among limits, which are the first or second argument
STANDS = {"aten.bucketize.Tensor": 1, "aten.searchsorted.Tensor": 0}
PROBES = torch.cat([torch.linspace(-9.137, 9.211, 401), torch.tensor([0.0, 1e-3, -1e-3, 50, -50])])
ERRORS = (RuntimeError, TypeError, ValueError, IndexError, KeyError)
SIZES = (96.0, 40960.0)  # numbers such as the size of the batch, on which it must not depend


@dataclass(frozen=True)
class ScalarFunction:
    """A function of each element of one value.

    Attributes:
        source: name of that value.
        nodes: its operations in order; the last one gives its result.
        fixed: the constants that it reads.
        sizes: names of numbers that it reads, such as the size of the batch.
    """

    source: str
    nodes: tuple[Node, ...]
    fixed: Mapping[str, Tensor]
    sizes: tuple[str, ...]

    @property
    def shape(self) -> tuple[int, ...]:
        """How its constants differ along the axes of a value, counted from the back."""
        limits = {n.args[STANDS[n.op]].name for n in self.nodes if n.op in STANDS}
        shapes = [value.shape for name, value in self.fixed.items() if name not in limits]
        return tuple(torch.broadcast_shapes(*shapes)) if shapes else ()

    @property
    def reads_tensors(self) -> bool:
        """Whether parameters are among its constants."""
        return any(value.is_floating_point() for value in self.fixed.values())

    @torch.no_grad()
    def at(self, x: Tensor) -> Tensor | None:
        """Its values at `x`, [N, ...] that broadcasts to [N, *shape]; None where it has none.

        In float64 on the CPU, and only where they are real, finite or not, and depend on no size.
        """
        x = x.double().reshape(len(x), *(1,) * (len(self.shape) + 1 - x.ndim), *x.shape[1:])
        found = []
        for size in SIZES if self.sizes else SIZES[:1]:
            values: dict[str, Any] = {
                name: v.double().cpu() if v.is_floating_point() else v.cpu()
                for name, v in self.fixed.items()
            }
            values |= dict.fromkeys(self.sizes, size)
            values[self.source] = x.expand(len(x), *self.shape)
            try:
                for node in self.nodes:
                    if node.op == MASKED and not is_masked(node, values):
                        return None
                    values[node.name] = call_of(node)(values)
            except ERRORS:  # not pointwise after all
                return None
            result = values[self.nodes[-1].name]
            if not isinstance(result, Tensor) or not result.is_floating_point():
                return None
            if result.shape != values[self.source].shape:
                return None
            found.append(result.double())
        same = torch.allclose(found[0], found[-1], rtol=1e-6, atol=1e-9, equal_nan=True)
        return found[0] if same else None


class ScalarFunctions:
    """Finds the scalar functions of a program.

    Args:
        fixed: values of everything that depends on no input.
    """

    def __init__(self, program: Program, fixed: Mapping[str, Tensor]) -> None:
        self.program = program
        self.fixed = fixed
        self.place = {node.name: i for i, node in enumerate(program.nodes)}
        self.by_name = {node.name: node for node in program.nodes}

    def ending_in(self, node: Node) -> list[ScalarFunction]:
        """Those whose result is `node`, of the nearest source first."""
        return list(self._ending_in(node))

    def _ending_in(self, node: Node) -> Iterator[ScalarFunction]:
        inside: list[Node] = []
        fixed: dict[str, Tensor] = {}
        sizes: set[str] = set()
        open_ends = {node.name}
        while len(inside) < LARGEST:
            latest = max(open_ends, key=lambda name: self.place.get(name, -1))
            made = self.by_name.get(latest)
            if made is None or not is_pointwise(made):
                return
            open_ends.discard(latest)
            inside.insert(0, made)
            for ref in references((made.args, made.kwargs)):
                if ref.name in self.fixed:
                    value = self.fixed[ref.name]
                    if not isinstance(value, Tensor):
                        return
                    fixed[ref.name] = value
                elif ref.name in self.by_name and is_number(self.by_name[ref.name]):
                    sizes.add(ref.name)
                else:
                    open_ends.add(ref.name)
            if not open_ends:
                return
            if len(open_ends) == 1:
                (source,) = open_ends
                yield ScalarFunction(source, tuple(inside), dict(fixed), tuple(sizes))


def is_pointwise(node: Node) -> bool:
    """Whether each element of its result depends on the same element of what it reads alone."""
    if node.op in ALSO or node.op in STANDS or node.op == MASKED:
        return True
    operator = operator_named(node.op)
    return operator is not None and torch.Tag.pointwise in operator.tags


def is_masked(node: Node, values: Mapping[str, Any]) -> bool:
    """Whether the index of an assignment is one mask as large as what is written."""
    indices = [values[ref.name] for ref in references(node.args[1])]
    target = values[node.args[0].name]
    return len(indices) == 1 and indices[0].dtype == torch.bool and indices[0].shape == target.shape
