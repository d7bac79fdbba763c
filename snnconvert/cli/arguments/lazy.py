"""Parsers that get their arguments when they are first asked for them.

Help texts and options come from the registries, which import PyTorch; `snnconvert --help` asks no
command for its arguments and stays quick.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable
from typing import Any, TypeAlias


class LazyParser(argparse.ArgumentParser):
    """An ArgumentParser; `later(add)` has `add(parser)` called before it parses or prints help."""

    def __init__(self, *positional: Any, **named: Any) -> None:
        super().__init__(*positional, **named)
        self._waiting: list[Callable[[argparse.ArgumentParser], None]] = []

    def later(self, add: Callable[[argparse.ArgumentParser], None]) -> None:
        self._waiting.append(add)

    def fill(self) -> None:
        """Add whatever still waits."""
        while self._waiting:
            self._waiting.pop(0)(self)

    def parse_known_args(self, args: Any = None, namespace: Any = None) -> Any:
        self.fill()
        return super().parse_known_args(args, namespace)

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
    command: LazyParser = commands.add_parser(name, help=help, description=description)
    command.set_defaults(run=run)
    command.later(arguments)


def listed(names: Any) -> str:
    """Registered names in a help text."""
    return ", ".join(names).replace("%", "%%")
