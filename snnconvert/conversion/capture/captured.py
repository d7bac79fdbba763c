"""What a capture gives: a network as data."""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass

from torch import Tensor

from snnconvert.common.inputs import Inputs, KnowsInputs
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


class HoldsProgram(KnowsInputs, ABC):
    """A module that was captured before."""

    program: Program

    @property
    def takes(self) -> Inputs:
        return self.program.takes

    @abstractmethod
    def captured(self) -> Captured:
        """As data, detached. InputError where it is not for another capture."""
