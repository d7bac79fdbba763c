"""What ends a command: Ctrl-C, or SIGTERM, by which schedulers of clusters and `kill` ask for it.

Both come as an exception, so that whoever has something half done can clean up or save.
"""

from __future__ import annotations

import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType


class Terminated(KeyboardInterrupt):
    """SIGTERM, as an exception."""


def terminate(_signal: int, _frame: FrameType | None) -> None:
    raise Terminated


@contextmanager
def heeding_termination() -> Iterator[None]:
    """Inside, SIGTERM is `Terminated`, where this process would be ended by it without a word."""
    main = threading.current_thread() is threading.main_thread()
    if not main or signal.getsignal(signal.SIGTERM) is not signal.SIG_DFL:
        yield
        return
    signal.signal(signal.SIGTERM, terminate)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, signal.SIG_DFL)
