"""How a command says what it found: as text, as JSON, or not at all."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

from snnconvert.errors import InputError
from snnconvert.files.plain_json import json_text

READ = ("file", "snn", "data", "against", "teacher", "calibrate")  # what commands read


def add_output_options(command: argparse.ArgumentParser, slow: bool = False) -> None:
    """--json and --quiet; `say` goes by them. `slow`: --no-progress too, see `progress.py`."""
    group = command.add_argument_group("what is printed")
    one = group.add_mutually_exclusive_group()
    one.add_argument("--json", action="store_true", help="the figures as JSON on stdout, "
                     "nothing else")  # fmt: skip
    one.add_argument("-q", "--quiet", action="store_true", help="nothing but errors")
    if slow:
        group.add_argument("--no-progress", dest="progress", action="store_false",
                           help="no bar or phase on the terminal")  # fmt: skip


def destination(args: argparse.Namespace, path: str | Path) -> Path:
    """`path`, where a command may write; asked before slow work.

    Raises:
        InputError: no file can be created there, or it is one that the command reads.
    """
    from snnconvert.files.atomic import check_destination

    out = check_destination(path)
    given = [getattr(args, name, None) for name in READ]
    given += [text.partition("=")[2] for text in getattr(args, "arguments", None) or []]
    if any(is_same(out, value) for value in given if value):
        raise InputError(f"{out}: is the input itself; choose another output with -o")
    return out


def is_same(path: Path, value: str) -> bool:
    """Whether `value` names this file."""
    try:
        return path.samefile(value)
    except (OSError, ValueError):  # one of them is not there, or no name
        return False


def say(args: argparse.Namespace, text: str, content: dict[str, Any]) -> None:
    """Print what was found, as the options want it."""
    if args.json:
        print(json_text(content))
    elif not args.quiet:
        print(text)
