"""What a command says while it works: phases on a terminal; elsewhere, with --verbose, as lines."""

from __future__ import annotations

import argparse
import os
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import TypeVar

WIDTH = 78
T = TypeVar("T")


def on_terminal() -> bool:
    """Whether stderr is a terminal that can go back in a line."""
    return sys.stderr.isatty() and os.environ.get("TERM") != "dumb"


def bars(args: argparse.Namespace) -> bool:
    """Whether a command shows bars: on a terminal, where nobody wants it quiet."""
    return on_terminal() and not args.quiet and getattr(args, "progress", True)


@contextmanager
def phases(args: argparse.Namespace) -> Iterator[Callable[[str], None]]:
    """A function that shows what is done now, in one line that is gone at the end.

    Written to stderr, and only where `bars` are shown.
    --verbose: lines that stay, with the seconds since the start, everywhere.
    """
    if args.verbose:
        start = time.perf_counter()
        yield lambda words: print(f"[{time.perf_counter() - start:6.1f} s] {words}",
                                  file=sys.stderr, flush=True)  # fmt: skip
        return
    shown = bars(args)

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


def counted(batches: Sequence[T], show: Callable[[str], None], words: str) -> Iterator[T]:
    """The batches; each says that it is its turn."""
    for number, batch in enumerate(batches, 1):
        show(f"{words}: batch {number} of {len(batches)}")
        yield batch
