"""The command-line arguments of solvers; names and options are those that are registered.

Imports the registries when a command asks for its arguments, not before.
"""

from __future__ import annotations

import argparse
from typing import Any

from snnconvert.cli.arguments.lazy import listed

DEFAULT_SOLVER = "dpm-solver++"
SHARED = (
    "clip",
    "thresholding",
    "denoise_to_zero",
    "prediction",
    "corrected",
)  # options of every solver


def option_names() -> list[str]:
    """Every option, in the order of the help."""
    from snnconvert.diffusion.solvers import described_options

    return [*described_options(), *SHARED]


def add_solver_options(
    command: argparse.ArgumentParser, default: str | None = DEFAULT_SOLVER
) -> None:
    """The solver, its grid and its options; what is not given stays the solver's default."""
    from snnconvert.diffusion.denoiser import PREDICTIONS
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
    add("--denoise-to-zero", action=switch, help="one more evaluation, from t = 0 to clean data")
    add("--prediction", choices=PREDICTIONS, metavar="NAME",
        help="what the network predicts, where the file does not say: "
        f"{listed(PREDICTIONS)} (default eps)")  # fmt: skip
    add("--corrected", action="store_true", default=None,
        help="take back how the network deviates from the float one; run `moments --against` "
        "first")  # fmt: skip


def grid_times(text: str) -> str | list[float]:
    """A name as it is, or numbers between commas."""
    try:
        return [float(part) for part in text.split(",")]
    except ValueError:
        return text


def given_options(args: argparse.Namespace) -> dict[str, Any]:
    """The options of solvers on the command line."""
    found = {name: getattr(args, name) for name in option_names()}
    return {name: value for name, value in found.items() if value is not None}
