"""How a command says what it found: as text, as JSON, or not at all."""

from __future__ import annotations

import argparse
from typing import Any

from snnconvert.files.plain_json import json_text


def add_output_options(command: argparse.ArgumentParser) -> None:
    """--json and --quiet; `say` goes by them."""
    group = command.add_argument_group("what is printed").add_mutually_exclusive_group()
    group.add_argument("--json", action="store_true", help="the figures as JSON on stdout, "
                       "nothing else")  # fmt: skip
    group.add_argument("-q", "--quiet", action="store_true", help="nothing but errors")


def say(args: argparse.Namespace, text: str, content: dict[str, Any]) -> None:
    """Print what was found, as the options want it."""
    if args.json:
        print(json_text(content))
    elif not args.quiet:
        print(text)
