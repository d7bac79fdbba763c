"""Ctrl-C and SIGTERM between two training steps: asked for in one, heeded at its end."""

from __future__ import annotations

import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType

from snnconvert.common.stopping import Terminated, terminate


class Interrupt:
    """Whether somebody has asked to stop; a second Ctrl-C interrupts at once.

    A second SIGTERM does not: a scheduler sends it to the job and to what started it, and waits.
    """

    asked = False
    kind: type[KeyboardInterrupt] = KeyboardInterrupt  # what was asked for

    def __call__(self, number: int, _frame: FrameType | None) -> None:
        self.kind = Terminated if number == signal.SIGTERM else KeyboardInterrupt
        if self.asked and self.kind is KeyboardInterrupt:
            raise KeyboardInterrupt
        self.asked = True


@contextmanager
def interruptible() -> Iterator[Interrupt]:
    """An `Interrupt` that Ctrl-C sets meanwhile, and SIGTERM in a command.

    Where other handlers than Python's and ours are set, or outside of the main thread, nothing
    changes.
    """
    interrupt = Interrupt()
    usual = {signal.SIGINT: signal.default_int_handler, signal.SIGTERM: terminate}
    main = threading.current_thread() is threading.main_thread()
    heeded = [each for each in usual if main and signal.getsignal(each) is usual[each]]
    for each in heeded:
        signal.signal(each, interrupt)
    try:
        yield interrupt
    finally:
        for each in heeded:
            signal.signal(each, usual[each])
