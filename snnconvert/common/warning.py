"""Warnings that point at the user's own line."""

from __future__ import annotations

import sys
import warnings

OURS = ("snnconvert", "torch", "contextlib")  # torch's: `no_grad` around our functions


def warn(message: str) -> None:
    """A UserWarning at the first line, going outwards, that is not this package's."""
    frame, level = sys._getframe(1), 2
    while frame.f_back is not None and _top(frame.f_globals) in OURS:
        frame, level = frame.f_back, level + 1
    warnings.warn(message, stacklevel=level)


def _top(names: dict[str, object]) -> str:
    return str(names.get("__name__", "")).partition(".")[0]
