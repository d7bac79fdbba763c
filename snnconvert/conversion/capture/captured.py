"""What a capture gives: a network as data."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from torch import Tensor

from snnconvert.common.inputs import Inputs, KnowsInputs
from snnconvert.conversion.graph.any_rows import in_calls, joined, rows_stand_alone
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
    _rows_stand_alone: bool | None = None  # asked for once, where the batch is fixed

    @property
    def takes(self) -> Inputs:
        return self.program.takes

    def of_any_batch(
        self, run: Callable[..., Any], args: Any, kwargs: Any, plain: Callable[[], Any]
    ) -> Any:
        """`run` on a call, or on the calls that it becomes where the network takes no such one.

        plain: gives the same function, without anything that a call leaves behind.
        """
        calls = in_calls(self.program, args, kwargs)
        fixed = self.program.fixed_batch is not None
        if calls and fixed and self._rows_stand_alone is None:
            self._rows_stand_alone = rows_stand_alone(self.program, plain(), calls[0][0])
        if not calls or (fixed and not self._rows_stand_alone):
            return run(*args, **kwargs)
        outputs = [run(*args, **kwargs) for (args, kwargs), _ in calls]
        return joined(outputs, [rows for _, rows in calls])

    @abstractmethod
    def captured(self) -> Captured:
        """As data, detached. InputError where it is not for another capture."""
