"""A NIR graph that is being made, and the currents in it.

Edges into one node of NIR add up. What reaches a point of the network is therefore a list of nodes,
each with what a unit of its output is worth there: scales and batch norms wait in that factor until
a weight, or a node of its own, takes them.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch
from torch import Tensor

from snnconvert.errors import InputError


@dataclass(frozen=True)
class Current:
    """The sum over nodes of worth times output, and a constant.

    Attributes:
        worth: by node, [1] or [C] along the channels.
        shape: of one sample.
        bias: [1] or [C], what is added in every step.
    """

    worth: Mapping[str, Tensor]
    shape: tuple[int, ...]
    bias: Tensor = field(default_factory=lambda: torch.zeros(1))

    def times(self, factor: Tensor) -> Current:
        worth = {name: value * factor for name, value in self.worth.items()}
        return Current(worth, self.shape, self.bias * factor)

    def plus(self, constant: Tensor) -> Current:
        return Current(self.worth, self.shape, self.bias + constant)

    def and_(self, other: Current) -> Current:
        worth = dict(self.worth)
        for name, value in other.worth.items():
            worth[name] = worth[name] + value if name in worth else value
        return Current(worth, self.shape, self.bias + other.bias)


def package() -> Any:
    """The package nir. InputError where it is missing."""
    try:
        import nir
    except ImportError as error:
        raise InputError(
            "NIR: the package nir is missing: pip install 'snnconvert[nir]'"
        ) from error
    return nir


def array(value: Tensor) -> Any:
    return value.detach().cpu().numpy()


class Wiring:
    """Nodes and edges so far.

    Args:
        shape: of the input, one sample.
        dtype: of the weights that it makes.
    """

    def __init__(self, shape: Sequence[int], dtype: torch.dtype) -> None:
        self.nir = package()
        self.nodes = {"input": self.nir.Input({"input": np.array(shape)})}
        self.edges: list[tuple[str, str]] = []
        self.dtype = dtype

    def add(self, label: str, node: Any, sources: Sequence[str]) -> str:
        """A node that reads the sum of `sources`; its name."""
        name = f"{len(self.nodes)}_{label.replace('.', '_')}"
        self.nodes[name] = node
        self.edges += [(source, name) for source in sources]
        return name

    def gathered(self, current: Current, label: str) -> tuple[list[str], Tensor]:
        """Nodes whose sum, times what is returned with them, is the current."""
        first = next(iter(current.worth.values()))
        alike = all(torch.equal(value, first) for value in current.worth.values())
        if alike and not bool(current.bias.any()):
            return list(current.worth), first
        return self.scaled(current, torch.ones(1), label), torch.ones(1)

    def scaled(self, current: Current, unit: Tensor, label: str) -> list[str]:
        """Nodes whose sum is the current divided by `unit`, [1] or [C]."""
        bias, found = current.bias / unit, []
        for name, worth in current.worth.items():
            factor = worth / unit
            if bool((factor == 1).all()) and not bool(bias.any()):
                found.append(name)
                continue
            channels = current.shape[0]
            matrix = torch.diag(factor.expand(channels))
            added = bias.expand(channels)
            found.append(self.add(label, self.mixing(matrix, added, current.shape), [name]))
            bias = torch.zeros(1)
        return found

    def mixing(
        self, matrix: Tensor, bias: Tensor, shape: Sequence[int],
        stride: Sequence[int] = (), padding: Sequence[int] = (),
    ) -> Any:  # fmt: skip
        """A node that mixes channels alike everywhere: [channels out, channels in], [out].

        Dense, since hardly any reader of NIR knows Scale or grouped convolutions.
        """
        places = len(shape) - 1
        if not places:
            return self.affine(matrix, bias)
        weight = matrix.view(*matrix.shape, *(1,) * places)
        ones, zeros = (1,) * places, (0,) * places
        return self.convolution(weight, bias, shape[1:], stride or ones, padding or zeros, ones)

    def affine(self, weight: Tensor, bias: Tensor) -> Any:
        weight, bias = weight.to(self.dtype), bias.to(self.dtype)
        if bool(bias.any()):
            return self.nir.Affine(array(weight), array(bias))
        return self.nir.Linear(array(weight))

    def convolution(
        self, weight: Tensor, bias: Tensor, size: Sequence[int], stride: Sequence[int],
        padding: Sequence[int] | str, dilation: Sequence[int],
    ) -> Any:  # fmt: skip
        """Conv1d or Conv2d on inputs of height and width `size`."""
        given = array(weight.to(self.dtype)), array(bias.to(self.dtype))
        if len(size) == 1:
            pad = padding if isinstance(padding, str) else padding[0]
            return self.nir.Conv1d(size[0], given[0], stride[0], pad, dilation[0], 1, given[1])
        pads = padding if isinstance(padding, str) else tuple(padding)
        return self.nir.Conv2d(
            tuple(size), given[0], tuple(stride), pads, tuple(dilation), 1, given[1]
        )
