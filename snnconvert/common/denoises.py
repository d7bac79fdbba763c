"""What is known of a denoiser beside its weights; it travels with the network.

prediction   what it predicts: "eps", "v", "x0", ...
schedule     the noise that it was trained with, an object with `alphas_cumprod`
data_range   (low, high) of the clean data
t_range      (first, last), its times at the cleanest and at the noisiest diffusion step, where
             they are not the numbers of these steps

Plain attributes of a network, of any module that a user writes too; what has the name and is
something else is no fact.
"""

from __future__ import annotations

import sys
from collections.abc import Mapping
from typing import Any, TypeVar

T = TypeVar("T")
PREDICTIONS = ("eps", "x0", "v", "x_prev")
LARGEST = sys.float_info.max


def facts_of(network: object) -> dict[str, Any]:
    """What is known of `network`, by name."""
    found = {
        "prediction": getattr(network, "prediction", None),
        "schedule": getattr(network, "schedule", None),
        "data_range": getattr(network, "data_range", None),
        "t_range": getattr(network, "t_range", None),
    }
    is_fact = {
        "prediction": isinstance(found["prediction"], str),
        "schedule": hasattr(found["schedule"], "alphas_cumprod"),
        "data_range": is_pair(found["data_range"]),
        "t_range": is_pair(found["t_range"]),
    }
    return {name: value for name, value in found.items() if is_fact[name]}


def is_pair(value: object) -> bool:
    """Whether it is a tuple of two different numbers, finite."""
    return (
        isinstance(value, tuple)
        and len(value) == 2
        and all(isinstance(number, int | float) and abs(number) <= LARGEST for number in value)
        and value[0] != value[1]
    )


def with_facts(network: T, facts: Mapping[str, Any]) -> T:
    """`network` itself, which now knows `facts`."""
    for name, value in facts.items():
        setattr(network, name, value)
    return network
