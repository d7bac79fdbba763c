"""What one file registers reaches the command line: no list of names is kept beside it."""

import subprocess
import sys
from typing import Annotated

import pytest
import torch

from snnconvert.cli import build_parser
from snnconvert.cli.arguments.solver_options import given_options
from snnconvert.diffusion.grids import GRIDS
from snnconvert.diffusion.solvers import SOLVERS, solver
from snnconvert.images.datasets import DATASETS
from snnconvert.images.pixels import TensorImages


def help_of(command: str, capsys) -> str:
    with pytest.raises(SystemExit):
        build_parser().parse_args([command, "--help"])
    return "".join(capsys.readouterr().out.split())  # names are broken over lines


@pytest.fixture
def registered(monkeypatch):
    """A solver, a grid and a data set of somebody else's."""
    for registry in (SOLVERS, GRIDS, DATASETS):
        monkeypatch.setattr(registry, "_entries", dict(registry._entries))
    GRIDS.register("own-grid")(GRIDS["uniform"])
    images = TensorImages(torch.zeros(3, 1, 8, 8, dtype=torch.uint8), None)
    DATASETS.register("own-images")(lambda root, size, train: images)

    @solver("own-solver")
    def own(
        denoiser, x, schedule, times, *, noise=None,
        temper: Annotated[float, "how warm"] = 1.0, twice: Annotated[bool, "again"] = False,
        inner: int = 3,
    ):  # fmt: skip
        return x


def test_a_new_solver_reaches_help_and_parser(registered, capsys):
    for command in ("sample", "evaluate", "guidance", "trajectory"):
        text = help_of(command, capsys)
        assert "own-solver" in text and "own-grid" in text
        assert "own-solver:howwarm" in text and "--no-twice" in text and "--inner" not in text
    given = ["sample", "a.pt", "--solver", "own-solver", "--temper", "0.5", "--no-twice"]
    options = given_options(build_parser().parse_args(given))
    assert options == {"temper": 0.5, "twice": False}


def test_a_new_data_set_reaches_help(registered, capsys):
    for command in ("evaluate", "stats", "moments", "convert", "train"):
        assert "own-images" in help_of(command, capsys)


def test_every_option_of_a_solver_says_what_it_is():
    """But those that no text can give: a curve of moments, and a bound that may be None."""
    for entry in SOLVERS.values():
        assert set(entry.options) - set(entry.described) <= {"eps_second_moment",
                                                              "largest_variance"}  # fmt: skip


OF_FORMULAS = {"sample", "evaluate", "sweep", "guidance", "trajectory", "moments", "export"}


def test_help_imports_no_pytorch():
    """But that of the commands whose options are registered beside formulas."""
    code = f"""
import argparse, sys
from snnconvert.cli import build_parser
parser = build_parser()
parser.format_help()
(commands,) = (a for a in parser._actions if isinstance(a, argparse._SubParsersAction))
for name in set(commands.choices) - {OF_FORMULAS}:
    commands.choices[name].format_help()
sys.exit("torch" in sys.modules or "numpy" in sys.modules)
"""
    assert subprocess.run([sys.executable, "-c", code]).returncode == 0
