"""Seconds a call, all networks in turn on the same inputs, so that their ratios mean something."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from statistics import median
from typing import Any

import torch
from torch import nn

from snnconvert.conversion.graph.values import leaves

ROUNDS = 5


@torch.no_grad()
def seconds_per_call(
    networks: Mapping[str, nn.Module], args: Sequence[Any], kwargs: Mapping[str, Any]
) -> dict[str, float]:
    """Median seconds of each network's call over a few rounds; in each round each runs once."""
    seconds: dict[str, list[float]] = {name: [] for name in networks}
    on_gpu = any(value.is_cuda for value in leaves((args, kwargs)))
    for round_number in range(ROUNDS + 1):
        for name, network in networks.items():
            start = time.perf_counter()
            network(*args, **kwargs)
            if on_gpu:  # which works on after a call has returned
                torch.cuda.synchronize()
            if round_number > 0:  # the first round warms up
                seconds[name].append(time.perf_counter() - start)
    return {name: median(values) for name, values in seconds.items()}
