"""`snnconvert --print-completion SHELL`: a script that completes commands, options and files."""

from __future__ import annotations

import argparse
from collections.abc import Iterator
from typing import Any

SHELLS = ("bash", "zsh", "tcsh")


class PrintCompletion(argparse.Action):
    """Prints the script for a shell, made from the parser, and ends."""

    def __call__(
        self, parser: argparse.ArgumentParser, namespace: Any, shell: Any, option: Any = None
    ) -> None:
        import shtab

        for command in parsers(parser):
            for action in command._actions:
                if takes_file(action):
                    action.complete = shtab.FILE  # type: ignore[attr-defined]
        print(shtab.complete(parser, shell))
        parser.exit()


def parsers(parser: argparse.ArgumentParser) -> Iterator[argparse.ArgumentParser]:
    """The parser of every command, filled."""
    for action in parser._actions:
        if isinstance(action, argparse._SubParsersAction):
            for command in action.choices.values():
                command.fill()
                yield command


def takes_file(action: argparse.Action) -> bool:
    """Whether a value is text that no list limits: nearly all such options name files."""
    return action.nargs != 0 and action.type is None and action.choices is None
