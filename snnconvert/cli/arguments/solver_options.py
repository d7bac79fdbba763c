"""The command-line arguments of solvers, and what they mean for a checkpoint."""

from __future__ import annotations

import argparse
from typing import Any

DEFAULT_SOLVER = "dpm-solver++"
SOLVER_OPTIONS = ("order", "method", "solver_type", "variant", "lower_order_final", "atol", "rtol",
                  "eta", "variance", "clip_pixel", "denoise_to_zero", "thresholding", "clip",
                  "prediction")  # fmt: skip
CLIP_PIXEL = 2.0  # last-step clipping of Analytic-DPM for images, as in the paper


def add_solver_options(command: argparse.ArgumentParser) -> None:
    """The solver, its grid and its options; what is not given stays the solver's default."""
    group = command.add_argument_group("solver")
    add, switch = group.add_argument, argparse.BooleanOptionalAction
    add("--solver", default=DEFAULT_SOLVER,
        help="ddpm ddim analytic-ddpm analytic-ddim dpm-solver dpm-solver++ (default) "
        "sde-dpm-solver++ unipc")  # fmt: skip
    add("--grid", type=grid_times, metavar="NAME|T,T,...",
        help="uniform trailing leading linspace quadratic time_uniform time_quadratic log_snr "
        "optimal, or times, noisiest first, -1 for clean data (they replace --steps)")  # fmt: skip
    add("--order", type=int, help="1, 2 or 3")
    add("--method", help="multistep, singlestep or adaptive")
    add("--solver-type", help="dpmsolver, taylor or published")
    add("--variant", help="of unipc: bh1 or bh2")
    add("--lower-order-final", action=switch, help="end short paths with lower orders")
    add("--denoise-to-zero", action=switch, help="one more evaluation, from t = 0 to clean data")
    add("--eta", type=float, help="0 ... 1: how much noise DDIM draws")
    add("--variance", help="of ddpm: fixed_large or fixed_small")
    add("--clip", action=switch, help="keep predicted images in [-1, 1] (default, but for "
        "dpm-solver)")  # fmt: skip
    add("--thresholding", type=float, nargs="?", const=True, metavar="RATIO",
        help="dynamic thresholding at this quantile (default 0.995)")  # fmt: skip
    add("--clip-pixel", type=float, help="of analytic-*: grey levels of noise in the last noisy "
        f"step (default {CLIP_PIXEL:g}; 0: no bound)")  # fmt: skip
    add("--atol", type=float, help="absolute tolerance of adaptive steps")
    add("--rtol", type=float, help="relative tolerance of adaptive steps")
    add("--prediction", help="what the network predicts: eps, x0, v or x_prev")


def grid_times(text: str) -> str | list[float]:
    """A name as it is, or numbers between commas."""
    try:
        return [float(part) for part in text.split(",")]
    except ValueError:
        return text


def chosen_options(args: argparse.Namespace, content: dict[str, Any], stage: str) -> dict[str, Any]:
    """The options on the command line, with what commands know of images and checkpoints."""
    from snnconvert.checkpoint.content import moment_of
    from snnconvert.diffusion.solvers import SOLVERS

    solver = SOLVERS[args.solver]
    options = {name: getattr(args, name) for name in SOLVER_OPTIONS}
    options = {name: value for name, value in options.items() if value is not None}
    if solver.clips and not options.get("thresholding"):
        options.setdefault("clip", True)
    if "clip_pixel" in solver.options:
        options.setdefault("clip_pixel", CLIP_PIXEL)
    if "eps_second_moment" in solver.options or args.grid == "optimal":
        named, prediction = getattr(args, "schedule", None), options.get("prediction", "eps")
        options["eps_second_moment"] = moment_of(content, stage, args.file, named, prediction)
    return options
