"""Solvers: functions `(denoiser, x, schedule, times, *, noise, own options) -> x at times[-1]`.

`times` is the grid, noisiest first, -1 for clean data; a solver loops over its pairs `(t, s)`
and evaluates the network once per pair (adaptive ones excepted).
Each file of this package registers its own; importing the package finds them.
"""

from __future__ import annotations

import importlib
import inspect
import pkgutil
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Annotated, Any, get_args, get_origin

from torch import Tensor

from snnconvert.common.registry import Registry
from snnconvert.diffusion.schedule import CLEAN

Groups = Callable[[int, Mapping[str, Any]], "list[int] | None"]


@dataclass(frozen=True)
class Solver:
    """A registered solver.

    Attributes:
        solve: the function.
        grid: name of the grid it uses where none is given.
        end: where the grids that leave it open end: CLEAN, or t = 0 as in DPM-Solver (in
            noise form, which has no step to clean data; what noise is left there, sigma = 0.01,
            greys a black background).
        reversible: True where the path from noise to data can be walked back.
        clips: True where it follows the predicted clean image, which commands, whose data are
            images, keep in [-1, 1] by default; Python does not.
        groups: (intervals, own options) -> sizes of the groups of intervals that it steps over,
            which a log-SNR grid lays evenly; None where there are none.
    """

    solve: Callable[..., Tensor]
    grid: str = "uniform"
    end: int = CLEAN
    reversible: bool = False
    clips: bool = False
    groups: Groups | None = None

    @property
    def options(self) -> Mapping[str, object]:
        """Its own keyword options with their defaults."""
        defaults = getattr(self.solve, "__kwdefaults__", None) or {}
        return {name: value for name, value in defaults.items() if name != "noise"}

    @property
    def described(self) -> Mapping[str, tuple[type, str, tuple[Any, ...]]]:
        """Type, help text with the default, and choices of the options that say them:

        `eta: Annotated[float, "..."] = 0.0`, `order: Annotated[int, (1, 2)] = 2`
        """
        hints: dict[str, Any] = inspect.get_annotations(self.solve, eval_str=True)
        origins: dict[str, Any] = {name: get_origin(hints[name]) for name in self.options}
        said = {n: get_args(hints[n]) for n, origin in origins.items() if origin is Annotated}
        return {
            name: (kind, as_text(told) + shown_default(self.options[name]),
                   () if isinstance(told, str) else tuple(told))
            for name, (kind, told) in said.items()
        }  # fmt: skip


def as_text(told: str | Iterable[object]) -> str:
    """What an option says of itself: a text, or its choices."""
    return told if isinstance(told, str) else ", ".join(map(str, told))


def shown_default(value: object) -> str:
    """ " (default 2)"; nothing for None, which leaves the choice to the solver."""
    if value is None:
        return ""
    return f" (default {('off', 'on')[value] if isinstance(value, bool) else value})"


@dataclass(frozen=True)
class Option:
    """An option as command lines show it: its type, and what the solvers that have it say of it.

    `choices` are those of any solver, none where anything of the type may stand.
    """

    kind: type
    said: Mapping[str, tuple[str, ...]]  # help text: names of the solvers
    choices: tuple[Any, ...] = ()

    @property
    def help(self) -> str:
        """One line."""
        return "; ".join(f"{', '.join(names)}: {text}" for text, names in self.said.items())


SOLVERS: Registry[Solver] = Registry("solver")


def solver(
    name: str,
    *,
    grid: str = "uniform",
    end: int = CLEAN,
    reversible: bool = False,
    clips: bool = False,
    groups: Groups | None = None,
) -> Callable[[Callable[..., Tensor]], Callable[..., Tensor]]:
    """Decorator that files a function as the solver `name`; the function itself is unchanged."""

    def add(solve: Callable[..., Tensor]) -> Callable[..., Tensor]:
        SOLVERS.register(name)(Solver(solve, grid, end, reversible, clips, groups))
        return solve

    return add


def described_options() -> dict[str, Option]:
    """Every option of a registered solver that says what it is; several share a name."""
    found: dict[str, Option] = {}
    for name, entry in SOLVERS.items():
        for option, (kind, text, choices) in entry.described.items():
            before = found.get(option, Option(kind, {}))
            names = (*before.said.get(text, ()), name)
            either = tuple(dict.fromkeys((*before.choices, *choices)))
            found[option] = Option(before.kind, {**before.said, text: names}, either)
    return found


for _module in pkgutil.iter_modules(__path__):
    importlib.import_module(f"{__name__}.{_module.name}")
