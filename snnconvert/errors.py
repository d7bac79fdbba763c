"""What can go wrong, told by remedy. The command line prints any of these in one line.

A message says which object, what was found, what is allowed and what to do.
"""

from __future__ import annotations

MOST_LINES, LONGEST_LINE = 40, 4000  # of a message: what a file holds may be any length


class SnnconvertError(Exception):
    """Base of every error that a user's input can cause.

    Its text is fit for a terminal whatever a file put into it; `args` hold all of it.
    `exit_code` is what a command ends with.
    """

    exit_code = 2

    def __str__(self) -> str:
        return presentable(super().__str__())


def presentable(text: object) -> str:
    """`text` for a terminal: control characters escaped, the many and the long lines cut."""
    lines = str(text).split("\n")
    more = len(lines) - MOST_LINES
    shown = [shortened(printable(line)) for line in lines[:MOST_LINES]]
    return "\n".join(shown + [f"... and {more} more lines"] * (more > 0))


def printable(text: object) -> str:
    """`text` on one line that moves no cursor: control characters as Python writes them."""
    return "".join(c if c.isprintable() else ascii(c)[1:-1] for c in str(text))


def shortened(line: str) -> str:
    """`line`, or its two ends where it is very long."""
    if len(line) <= LONGEST_LINE:
        return line
    half = LONGEST_LINE // 2
    return f"{line[:half]} ... ({len(line) - 2 * half} characters) ... {line[-half:]}"


class InputError(SnnconvertError, ValueError):
    """An argument is out of its range, or two arguments contradict each other: change the call."""


class RecipeError(SnnconvertError, ValueError):
    """A recipe has an unknown key, a wrong type or an impossible value: edit the recipe."""


class CheckpointError(SnnconvertError, ValueError):
    """A file is not a checkpoint that this version can read: use another file or version."""


class DataError(SnnconvertError, ValueError):
    """Images are missing or unusable: download them or point to another folder."""


class UnsupportedOpError(SnnconvertError, NotImplementedError):
    """A network contains operations without a conversion rule: change the layer or add a rule."""


class DivergedError(SnnconvertError, ArithmeticError):
    """A training ran into numbers that are not finite: lower the learning rate."""

    exit_code = 1
