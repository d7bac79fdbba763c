"""The command line: one sub-command per verb; parse, call, print. Heavy imports stay inside."""

from __future__ import annotations

import argparse
import os
import shlex
import sys
import warnings
from collections.abc import Sequence
from pathlib import Path

from snnconvert import __version__
from snnconvert.cli_conversion import add_check, add_convert
from snnconvert.cli_evaluation import add_evaluate, add_stats
from snnconvert.cli_finetune import add_finetune
from snnconvert.cli_guidance import add_guidance
from snnconvert.cli_moments import add_moments
from snnconvert.cli_report import add_report
from snnconvert.cli_sampling import add_sample
from snnconvert.cli_trajectory import add_trajectory
from snnconvert.errors import SnnconvertError


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command; the exit code is 0, 2 for bad input, 130 after Ctrl-C, 141 as SIGPIPE."""
    arguments = sys.argv[1:] if arguments is None else arguments
    parsed = build_parser().parse_args(arguments)
    parsed.command_line = shlex.join(["snnconvert", *arguments])
    try:
        with warnings.catch_warnings():
            warnings.showwarning = show_warning  # type: ignore[assignment]
            code = parsed.run(parsed)
            sys.stdout.flush()
    except SnnconvertError as error:
        print(f"snnconvert: error: {error}", file=sys.stderr)
        return 2
    except (MemoryError, RuntimeError) as error:
        if not isinstance(error, MemoryError) and "allocate memory" not in str(error):
            raise
        print("snnconvert: error: this needs more memory than there is; ask for fewer or smaller "
              "images, or a smaller network", file=sys.stderr)  # fmt: skip
        return 2
    except BrokenPipeError:  # who reads the output has seen enough, as in `| head`
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 141
    except KeyboardInterrupt:
        print("snnconvert: interrupted", file=sys.stderr)
        return 130
    return code or 0


def show_warning(message: Warning | str, *_where: object) -> None:
    """A warning as a line like the errors: its place in the code helps nobody here."""
    print(f"snnconvert: warning: {message}", file=sys.stderr)


def build_parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="snnconvert",
        description="Convert artificial neural networks into spiking ones, without losing what "
        "they computed, and say exactly what was lost when something was.",
    )
    parser.add_argument("--version", action="version", version=__version__)
    commands = parser.add_subparsers(required=True, metavar="COMMAND")
    for add in (
        add_train, add_check, add_convert, add_sample, add_trajectory, add_moments, add_stats,
        add_evaluate, add_guidance, add_finetune, add_report, add_info,
    ):  # fmt: skip
        add(commands)
    return parser


def add_train(commands: argparse._SubParsersAction) -> None:
    command = commands.add_parser(
        "train",
        help="train a network from a recipe",
        description="Train the float and then the quantised network of a recipe. The same command "
        "again resumes an unfinished training.",
    )
    command.add_argument("recipe", metavar="RECIPE", help="TOML file, see recipes/")
    command.add_argument("-o", "--out", help="checkpoint to write (default: <recipe stem>.pt)")
    command.add_argument(
        "--set",
        action="append",
        default=[],
        metavar="KEY=VALUE",
        help="change a key of the recipe; may be repeated",
    )
    command.add_argument(
        "--dry-run",
        action="store_true",
        help="print the resolved recipe and the size of the network, then stop",
    )
    command.set_defaults(run=run_train)


def run_train(args: argparse.Namespace) -> None:
    from snnconvert.checkpoint import check_destination
    from snnconvert.recipe import load_recipe

    recipe = load_recipe(args.recipe, args.set)
    out = check_destination(args.out or f"{Path(args.recipe).stem}.pt")
    if args.dry_run:
        from snnconvert.describe import describe_recipe

        print(recipe.to_toml(), end="")
        print(describe_recipe(recipe))
        return
    from snnconvert.training import train

    finished = out.exists()
    train(recipe, out)
    print(f"{out}: was finished before" if finished else f"wrote {out}")


def add_info(commands: argparse._SubParsersAction) -> None:
    command = commands.add_parser("info", help="say what a checkpoint holds")
    command.add_argument("file", metavar="FILE", help="checkpoint")
    command.set_defaults(run=run_info)


def run_info(args: argparse.Namespace) -> None:
    from snnconvert.checkpoint import read_checkpoint
    from snnconvert.describe import describe_checkpoint

    print(describe_checkpoint(read_checkpoint(args.file), args.file))
