"""What the text of an option stands for, where it is more than a word or a number."""

from __future__ import annotations

import argparse

MOST_STEPS = 4096  # in a range


def numbers(text: str) -> tuple[float, ...]:
    """ "0.4,0.5,0.6" as numbers."""
    try:
        return tuple(float(part) for part in text.split(","))
    except ValueError:
        raise argparse.ArgumentTypeError(
            f"found {text!r}, allowed are numbers: 0.4,0.5,0.6"
        ) from None


def settle_steps(text: str) -> int | str:
    """An integer, or the word auto."""
    if text == "auto":
        return text
    try:
        return int(text)
    except ValueError:
        raise argparse.ArgumentTypeError(
            f"found {text!r}, allowed are integers from 0 up and 'auto'"
        ) from None


def start_potential(text: str) -> float | str:
    """A number, or the word half or optimised."""
    if text in ("half", "optimised"):
        return text
    try:
        return float(text)
    except ValueError:
        raise argparse.ArgumentTypeError(
            f"found {text!r}, allowed are numbers, 'half' and 'optimised'"
        ) from None


def step_range(text: str) -> list[int]:
    """ "1-64", "1,2,4" or "8" as numbers."""
    try:
        first, dash, last = text.partition("-")
        if dash:
            steps = list(range(int(first), int(last) + 1)) if int(last) <= MOST_STEPS else []
        else:
            steps = [int(part) for part in text.split(",")]
        if steps:
            return steps
    except ValueError:
        pass
    raise argparse.ArgumentTypeError(
        f"found {text!r}, write FIRST-LAST upwards to at most {MOST_STEPS}, such as 1-64, or a "
        "list such as 4,8,16"
    )
