"""What a command says while it works: phases on a terminal; elsewhere, with --verbose, as lines."""

from __future__ import annotations

import argparse
import os
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

WIDTH = 78


@contextmanager
def phases(args: argparse.Namespace) -> Iterator[Callable[[str], None]]:
    """A function that shows what is done now, in one line that is gone at the end.

    Written to stderr, and only where that is a terminal; --quiet and TERM=dumb turn it off.
    --verbose: lines that stay, with the seconds since the start, everywhere.
    """
    if args.verbose:
        start = time.perf_counter()
        yield lambda words: print(f"[{time.perf_counter() - start:6.1f} s] {words}",
                                  file=sys.stderr, flush=True)  # fmt: skip
        return
    shown = not args.quiet and sys.stderr.isatty() and os.environ.get("TERM") != "dumb"

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
