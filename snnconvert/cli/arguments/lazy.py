"""Parsers that get their arguments when they are first asked for them.

Help texts and options come from the registries, which import PyTorch; `snnconvert --help` asks no
command for its arguments and stays quick.
"""

from __future__ import annotations

import argparse
import re
import sys
from collections.abc import Callable
from typing import Any, NoReturn, TypeAlias

from snnconvert.cli.arguments.examples import epilog
from snnconvert.common.registry import nearest


class HelpWithExamples(argparse.HelpFormatter):
    """Keeps the lines of the examples as they are."""

    def _fill_text(self, text: str, width: int, indent: str) -> str:
        return text if text.startswith("examples:") else super()._fill_text(text, width, indent)


class LazyParser(argparse.ArgumentParser):
    """An ArgumentParser; `later(add)` has `add(parser)` called before it parses or prints help.

    A mistake gets one line that says what may have been meant, not the usage of every option.
    """

    def __init__(self, *positional: Any, **named: Any) -> None:
        super().__init__(*positional, **{"formatter_class": HelpWithExamples, **named})
        self._waiting: list[Callable[[argparse.ArgumentParser], None]] = []

    def later(self, add: Callable[[argparse.ArgumentParser], None]) -> None:
        self._waiting.append(add)

    def fill(self) -> None:
        """Add whatever still waits."""
        while self._waiting:
            self._waiting.pop(0)(self)

    def parse_known_args(self, args: Any = None, namespace: Any = None) -> Any:
        self.fill()
        found, left = super().parse_known_args(args, namespace)
        unknown = next((word for word in left if word.startswith("-")), None)
        if unknown is not None:
            meant = nearest(unknown.partition("=")[0], self._option_string_actions)
            self.error(f"unknown option {unknown}: {meant}".rstrip(" :"))
        return found, left

    def error(self, message: str) -> NoReturn:
        """One line and exit code 2."""
        wrong = re.search(r"invalid choice: '([^']*)' \(choose from (.*)\)", message)
        if wrong:
            choices = re.findall(r"[^\s,']+", wrong[2])
            message += f": {nearest(wrong[1], choices)}"
        print(f"{self.prog}: error: {message.rstrip(' :')}; `{self.prog} --help` lists everything",
              file=sys.stderr)  # fmt: skip
        sys.exit(2)

    def format_usage(self) -> str:
        self.fill()
        return super().format_usage()

    def format_help(self) -> str:
        self.fill()
        return super().format_help()


Commands: TypeAlias = "argparse._SubParsersAction[LazyParser]"  # what `add_subparsers` gives


def add_command(
    commands: Commands, name: str,
    run: Callable[[argparse.Namespace], Any],
    arguments: Callable[[argparse.ArgumentParser], None], help: str, description: str | None = None,
) -> None:  # fmt: skip
    """A sub-command; `arguments` adds what it takes, when it is asked."""
    command: LazyParser = commands.add_parser(
        name, help=help, description=description or f"{help[:1].upper()}{help[1:]}.",
        epilog=epilog(name),
    )  # fmt: skip
    command.set_defaults(run=run)
    command.later(arguments)
    command.later(add_verbosity)


def add_verbosity(command: argparse.ArgumentParser) -> None:
    command.add_argument("-v", "--verbose", action="store_true", help="say on stderr what is "
                         "done, a line each with the time, and where in the code an error "
                         "arose")  # fmt: skip


def add_count(
    command: argparse.ArgumentParser, help: str, default: int | None = None, *old: str
) -> None:
    """How many images or inputs: `-n`, `--count`; names that it had before go on, unseen."""
    command.add_argument("-n", "--count", type=int, default=default, metavar="N", help=help)
    for name in old:
        command.add_argument(name, dest="count", type=int, default=argparse.SUPPRESS,
                             metavar="N", help=argparse.SUPPRESS)  # fmt: skip


def listed(names: Any) -> str:
    """Registered names in a help text."""
    return ", ".join(names).replace("%", "%%")
