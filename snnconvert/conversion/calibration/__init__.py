"""What is fitted to calibration inputs: thresholds, biases, starts, leaks.

Here the names of the criteria by which thresholds are chosen; no PyTorch, so `--help` is quick.
"""

from __future__ import annotations

import re

from snnconvert.errors import InputError

PERCENTILE = 99.9
LEARNED_FROM = "mse"  # the rule whose thresholds "learned" trains further
CRITERIA = ("mse", "max", "percentile", "learned")  # or a percentage such as "99.5%"


def check_criterion(threshold: str) -> str:
    """`threshold` if it names a criterion, else InputError."""
    if threshold in CRITERIA or percentage(threshold) is not None:
        return threshold
    raise InputError(
        f"threshold: found {threshold!r}, allowed: {', '.join(CRITERIA)}, or a percentage in "
        "(0, 100] such as '99.5%'"
    )


def percentage(threshold: str) -> float | None:
    """The number in "99.5%"; None for anything else."""
    if threshold == "percentile":
        return PERCENTILE
    found = re.fullmatch(r"(\d+(?:\.\d+)?)%", str(threshold))
    number = float(found[1]) if found else 0.0
    return number if 0 < number <= 100 else None
