"""What a capture gives: a network as data."""

from __future__ import annotations

from dataclasses import dataclass

from torch import Tensor

from snnconvert.conversion.graph.program import Program


@dataclass(frozen=True)
class Captured:
    """A network as data.

    Attributes:
        program: its operations.
        constants: weights and buffers by the name that the program uses.
        paths: the user's dotted name of each constant that has one.
        trainable: names of the constants that are parameters.
    """

    program: Program
    constants: dict[str, Tensor]
    paths: dict[str, str]
    trainable: frozenset[str] = frozenset()
