"""A solver's path, as calibration follows it without knowing what a solver is."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, Protocol

import torch
from torch import Tensor

from snnconvert.common.denoises import with_facts
from snnconvert.common.words import counted
from snnconvert.conversion.calibration.batches import Kept, cut
from snnconvert.conversion.graph.program import Program
from snnconvert.conversion.graph.values import leaves
from snnconvert.errors import InputError

Call = list[Tensor]
ANOTHER_SCALE = 10.0  # times the largest t of the calibration data


class AnotherScale(InputError):
    """A path's times are of another scale than those of the calibration data."""


class Path(Protocol):
    """A way of sampling, such as `snnconvert.SolverPath`.

    Attributes:
        passes: how often the network is calibrated on what it visited itself.
    """

    @property
    def passes(self) -> int: ...

    def follow(
        self, network: Callable[[Tensor, Tensor], Tensor], like: Tensor, part: str
    ) -> Tensor:
        """Call `network(x, t)` along the path: where it ends.

        part: "usual" starts, "far" ones, or "judged": other ones of both kinds.
        """


class Follower:
    """A program as a path calls it, (x, t) -> prediction.

    Args:
        program: of the network.
        run: runs it.
        kept: calibration inputs, for the form of x and t; the others are taken from them.
        time: the program's input t.
        facts: what is known of the network.

    Raises:
        InputError: it returns no single prediction, or it is not plain which input is x.
    """

    def __init__(
        self, program: Program, run: Callable[[Call], Any], kept: Kept, time: str,
        facts: Mapping[str, Any],
    ) -> None:  # fmt: skip
        self.facts = facts
        self.program = program
        self.along = set(program.batch_inputs)
        self.template = kept.sample(program.largest_batch or 64)
        self.time = program.inputs.index(time)
        self.state = self._state(prediction_in(run(self.template)))

    def _state(self, prediction: Tensor) -> int:
        """The index of x: the floating input that has the prediction's shape.

        Of several the first, where t comes next: so solvers call a network, (x, t, ...).
        """
        shapes = {i: tuple(value.shape) for i, value in enumerate(self.template)}
        able = [
            i for i, shape in shapes.items()
            if i != self.time and shape == prediction.shape
            and self.template[i].is_floating_point()
        ]  # fmt: skip
        if len(able) == 1 or (able[:1] == [0] and self.time == 1):
            return able[0]
        names = [self.program.label(name) for name in self.program.inputs]
        inputs = ", ".join(f"{names[i]} {shape}" for i, shape in shapes.items())
        if able:
            raise InputError(
                f"path: which of {' and '.join(names[i] for i in able)} is x? The network takes "
                f"{inputs}, and its prediction has the shape of each: wrap it so that it takes "
                "(x, t, ...), as solvers call it"
            )
        raise InputError(
            f"path: the prediction has the shape {tuple(prediction.shape)}, and no input is of it: "
            f"the network takes {inputs}; a solver needs one prediction of x's shape (wrap a "
            "network that also predicts a variance)"
        )

    @property
    def like(self) -> Tensor:
        """An x."""
        return self.template[self.state]

    def calls(self, x: Tensor, t: Tensor) -> list[Call]:
        """The program's inputs for states x [B, ...] at times t [B], in pieces that it takes."""
        if not self.along:
            return self._fixed(x, t)
        whole = [self._input(i, x, t) for i in range(len(self.template))]
        return list(cut(self.program, whole))

    def _fixed(self, x: Tensor, t: Tensor) -> list[Call]:
        """Calls of exactly as many rows as the network takes, the last filled up."""
        size = len(self.like)
        rows = torch.arange(-(-len(x) // size) * size) % len(x)
        return [
            [self._input(i, x[some], t[some], size) for i in range(len(self.template))]
            for some in rows.split(size)
        ]

    def _input(self, index: int, x: Tensor, t: Tensor, size: int | None = None) -> Tensor:
        one = self.template[index]
        if index == self.state:
            return x
        if index == self.time:
            times = t.to(x.device) if one.is_floating_point() else t.round()
            if index in self.along or one.numel() == size:
                return times.to(one.dtype).view(-1, *one.shape[1:])
            return times[:1].to(one.dtype).view(one.shape)
        if index not in self.along:
            return one
        return one[torch.arange(len(x)) % len(one)]

    def check_times(self, call: Call) -> None:
        """AnotherScale where a path begins at times far from those of the calibration data."""
        found, known = (
            float(inputs[self.time].double().abs().max()) for inputs in (call, self.template)
        )
        if min(found, known) > 0 and max(found / known, known / found) > ANOTHER_SCALE:
            raise AnotherScale(
                f"path: the solver begins at t = {found:g}, the calibration data are at t up to "
                f"{known:g}; where the network takes scaled times, say so: t_range=(first, last), "
                "such as (0, 0.999) for t / 1000 (--t-range on the command line)"
            )

    def network(self, run: Callable[[Call], Any]) -> Callable[[Tensor, Tensor], Tensor]:
        """The function that a path calls, which runs the program by `run`.

        AnotherScale in its first call where its times cannot be meant.
        """
        begun = False

        def call(x: Tensor, t: Tensor) -> Tensor:
            nonlocal begun
            outputs = []
            for inputs in self.calls(x, t):
                if not begun:
                    self.check_times(inputs)
                begun = True
                outputs.append(prediction_in(run(inputs)))
            return torch.cat(outputs)[: len(x)]

        return with_facts(call, self.facts)


def prediction_in(output: Any) -> Tensor:
    """The one tensor that a network returned. InputError where there are several."""
    found = leaves(output)
    if len(found) != 1:
        raise InputError(
            f"path: the network returns {counted(len(found), 'tensor')}; a solver needs one "
            "prediction of x's shape (wrap a network that returns more)"
        )
    only: Tensor = found[0]
    return only


def check_path(path: object) -> None:
    """InputError for what is no way of sampling."""
    follows = callable(getattr(path, "follow", None)) and not isinstance(path, type)
    if not follows or not isinstance(getattr(path, "passes", None), int):
        found = path if isinstance(path, str | int | type) else type(path).__name__
        raise InputError(
            f"path: found {found!r}, needed is a way of sampling: snnconvert.SolverPath(schedule), "
            "or another object with `follow(network, like, part)` and `passes`"
        )
