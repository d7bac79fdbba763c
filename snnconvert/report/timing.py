"""Seconds a call, all networks in turn on the same inputs, so that their ratios mean something."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from statistics import median

import torch

ROUNDS = 5


@torch.no_grad()
def seconds_per_call(calls: Mapping[str, Callable[[], object]]) -> dict[str, float]:
    """Median seconds of each call over a few rounds; in each round every call runs once."""
    seconds: dict[str, list[float]] = {name: [] for name in calls}
    for round_number in range(ROUNDS + 1):
        for name, call in calls.items():
            start = time.perf_counter()
            call()
            if round_number > 0:  # the first round warms up
                seconds[name].append(time.perf_counter() - start)
    return {name: median(values) for name, values in seconds.items()}
