"""The command line: one sub-command per verb; parse, call, print. Heavy imports stay inside."""

from __future__ import annotations

import argparse
import io
import os
import shlex
import sys
import traceback
import warnings
from collections.abc import Sequence

from snnconvert.cli.arguments.completion import SHELLS, PrintCompletion
from snnconvert.cli.arguments.lazy import LazyParser
from snnconvert.cli.check import add_check
from snnconvert.cli.convert import add_convert
from snnconvert.cli.demo import add_demo
from snnconvert.cli.evaluate import add_evaluate
from snnconvert.cli.export import add_export
from snnconvert.cli.finetune import add_finetune
from snnconvert.cli.guidance import add_guidance
from snnconvert.cli.info import add_info
from snnconvert.cli.moments import add_moments
from snnconvert.cli.quantize import add_quantize
from snnconvert.cli.report import add_report
from snnconvert.cli.sample import add_sample
from snnconvert.cli.stats import add_stats
from snnconvert.cli.sweep import add_sweep
from snnconvert.cli.train import add_recipes, add_train
from snnconvert.cli.trajectory import add_trajectory
from snnconvert.cli.verify import add_verify
from snnconvert.common.stopping import Terminated, heeding_termination
from snnconvert.errors import SnnconvertError, presentable
from snnconvert.version import __version__

# In the errors of PyTorch: on a CPU, on a GPU, and for more bytes than 64 bits count.
TOO_LARGE = ("allocate memory", "out of memory", "Storage size calculation overflowed")


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command; the exit code is 0, 1 where what was asked for does not hold, 2 for bad
    input, 130 after Ctrl-C, 141 as SIGPIPE, 143 after SIGTERM."""
    arguments = sys.argv[1:] if arguments is None else arguments
    for stream in (sys.stdout, sys.stderr):  # a file's name may hold what a terminal cannot show
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")
    try:
        with heeding_termination():
            return run(parsed_line(arguments))
    except BrokenPipeError:  # who reads the output has seen enough, as in `| head`
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 141
    except KeyboardInterrupt as interrupt:  # while arguments are read, too: that imports PyTorch
        where = (
            f" {interrupt}: saved, the same command goes on from there" if interrupt.args else ""
        )
        terminated = isinstance(interrupt, Terminated)
        word = "terminated" if terminated else "interrupted"
        print(f"snnconvert: {word}{where}", file=sys.stderr)
        return 143 if terminated else 130


def parsed_line(arguments: Sequence[str]) -> argparse.Namespace:
    """What a command line says. SystemExit after a help text or a mistake."""
    try:
        parsed = build_parser().parse_args(arguments)
    except SystemExit:
        sys.stdout.flush()  # here, where it is caught that nobody reads the help
        raise
    parsed.command_line = shlex.join(["snnconvert", *arguments])
    return parsed


def run(parsed: argparse.Namespace) -> int:
    """The exit code of a command; of an error its own, after one line that says what it is."""
    try:
        with warnings.catch_warnings():
            warnings.showwarning = show_warning  # type: ignore[assignment]
            if getattr(parsed, "quiet", False):
                warnings.simplefilter("ignore")
            code: int | None = parsed.run(parsed)
            sys.stdout.flush()
            return code or 0
    except SnnconvertError as error:
        if parsed.verbose:
            traceback.print_exc()
        print(f"snnconvert: error: {error}", file=sys.stderr)
        return error.exit_code
    except (MemoryError, RuntimeError) as error:
        if not isinstance(error, MemoryError) and not any(w in str(error) for w in TOO_LARGE):
            raise
        print("snnconvert: error: this needs more memory than there is; ask for fewer or smaller "
              "images, or a smaller network", file=sys.stderr)  # fmt: skip
        return 2


def show_warning(message: Warning | str, *_where: object) -> None:
    """A warning as a line like the errors: its place in the code helps nobody here."""
    print(f"snnconvert: warning: {presentable(message)}", file=sys.stderr)


def build_parser() -> argparse.ArgumentParser:
    parser = LazyParser(
        prog="snnconvert",
        description="Convert artificial neural networks into spiking ones, without losing what "
        "they computed, and say exactly what was lost when something was.",
    )
    parser.add_argument("--version", action="version", version=__version__)
    parser.add_argument(
        "--print-completion", action=PrintCompletion, choices=SHELLS, default=argparse.SUPPRESS,
        help="print a script that completes commands, options and files in this shell",
    )  # fmt: skip
    commands = parser.add_subparsers(required=True, metavar="COMMAND", parser_class=LazyParser)
    for add in (
        add_demo, add_recipes, add_train, add_check, add_convert, add_quantize, add_verify,
        add_sweep, add_sample, add_trajectory, add_moments, add_stats, add_evaluate, add_guidance,
        add_finetune, add_export, add_report, add_info,
    ):  # fmt: skip
        add(commands)
    return parser
