"""The command-line arguments of solvers; names and options are those that are registered.

Imports the registries when a command asks for its arguments, not before.
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from snnconvert.cli.arguments.lazy import listed
from snnconvert.common.checks import MOST
from snnconvert.errors import InputError

DEFAULT_SOLVER = "dpm-solver++"
SHARED = (
    "clip",
    "thresholding",
    "denoise_to_zero",
    "prediction",
    "corrected",
    "t_range",
    "arguments",
)  # options of every solver


def option_names() -> list[str]:
    """Every option, in the order of the help."""
    from snnconvert.diffusion.solvers import described_options

    return [*described_options(), *SHARED]


def add_solver_options(
    command: argparse.ArgumentParser, default: str | None = DEFAULT_SOLVER
) -> None:
    """The solver, its grid and its options; what is not given stays the solver's default."""
    from snnconvert.diffusion.grids import GRIDS
    from snnconvert.diffusion.solvers import SOLVERS, described_options

    group = command.add_argument_group("solver")
    add, switch = group.add_argument, argparse.BooleanOptionalAction
    add("--solver", default=default, choices=tuple(SOLVERS), metavar="NAME",
        help=f"{listed(SOLVERS)} (default {DEFAULT_SOLVER})")  # fmt: skip
    add("--grid", type=grid_times, metavar="NAME|T,T,...",
        help=f"{listed(GRIDS)}, or times, noisiest first, -1 for clean data (they replace "
        "--steps)")  # fmt: skip
    for name, option in described_options().items():
        flag, text = f"--{name.replace('_', '-')}", option.help.replace("%", "%%")
        if option.kind is bool:
            add(flag, action=switch, help=text)
        else:
            add(flag, type=option.kind, choices=option.choices or None, metavar="VALUE",
                help=text)  # fmt: skip
    add("--clip", action=switch, help="keep predicted images in [-1, 1] (default, but for "
        f"{listed(name for name in SOLVERS if not SOLVERS[name].clips)})")  # fmt: skip
    add("--thresholding", type=float, nargs="?", const=True, metavar="RATIO",
        help="dynamic thresholding at this quantile (default 0.995)")  # fmt: skip
    add("--denoise-to-zero", action=switch,
        help="where a path ends at t = 0: one more evaluation, to clean data")  # fmt: skip
    add_prediction(group)
    add_argument_option(group)
    add("--corrected", action="store_true", default=None,
        help="take back how the network deviates from the float one; run `moments --against` "
        "first")  # fmt: skip


def add_prediction(group: argparse._ActionsContainer) -> None:
    """What the network predicts."""
    from snnconvert.common.denoises import PREDICTIONS

    group.add_argument(
        "--prediction", choices=PREDICTIONS, metavar="NAME",
        help="what the network predicts, where the file does not say: "
        f"{listed(PREDICTIONS)} (default eps)",
    )  # fmt: skip


def add_argument_option(group: argparse._ActionsContainer) -> None:
    """What else the network takes."""
    group.add_argument(
        "--argument", dest="arguments", action="append", default=[], metavar="NAME=VALUE",
        help="a further argument of the network, once for each: numbers (y=0,1,2: image i has "
        "number i, over and over), a .pt or .npz file with a row for each image, or none",
    )  # fmt: skip


def given_arguments(words: Sequence[str]) -> dict[str, Any]:
    """The further arguments of a network by name, of NAME=VALUE. InputError for other words."""
    found = {}
    for word in words:
        name, equals, text = word.partition("=")
        if not name or not equals:
            raise InputError(f"--argument {word}: write NAME=VALUE, such as y=0,1,2")
        found[name] = argument_value(text, f"--argument {word}")
    return found


def argument_value(text: str, option: str) -> Any:
    """A tensor [N, ...] of the numbers in `text` or in the file that it names; None for "none"."""
    import torch

    from snnconvert.cli.arguments.calibration_argument import tensors_of

    if text.lower() == "none":
        return None
    if Path(text).suffix in (".pt", ".npz"):
        values = tensors_of(Path(text))
        if len(values) != 1:
            raise InputError(f"{option}: the file holds {len(values)} tensors, needed is one")
        return values[0]
    try:
        found = [float(part) for part in text.split(",")]
    except ValueError:
        raise InputError(
            f"{option}: found {text!r}, allowed are numbers (0,1,2), a .pt or .npz file, and none"
        ) from None
    whole = not any(mark in text for mark in ".einEIN")
    if whole and max(map(abs, found)) > MOST:
        raise InputError(f"{option}: found {text!r}, allowed are whole numbers up to {MOST}")
    return torch.tensor(found, dtype=torch.int64 if whole else torch.float32)


def grid_times(text: str) -> str | list[float]:
    """A name as it is, or numbers between commas."""
    try:
        return [float(part) for part in text.split(",")]
    except ValueError:
        return text


def given_options(args: argparse.Namespace) -> dict[str, Any]:
    """The options of solvers on the command line."""
    found = {name: getattr(args, name) for name in option_names()}
    found["arguments"] = given_arguments(args.arguments) or None
    return {name: value for name, value in found.items() if value is not None}
