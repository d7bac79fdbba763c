"""What a command says while it works: phases on a terminal, nothing elsewhere."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager

WIDTH = 78


@contextmanager
def phases(quiet: bool = False) -> Iterator[Callable[[str], None]]:
    """A function that shows what is done now, in one line that is gone at the end.

    Written to stderr, and only where that is a terminal; `quiet` and TERM=dumb turn it off.
    """
    shown = not quiet and sys.stderr.isatty() and os.environ.get("TERM") != "dumb"

    def show(words: str) -> None:
        if shown:
            sys.stderr.write(f"\r{words[:WIDTH]:<{WIDTH}}")
            sys.stderr.flush()

    try:
        yield show
    finally:
        show("")
        if shown:
            sys.stderr.write("\r")
