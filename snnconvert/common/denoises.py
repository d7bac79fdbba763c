"""What is known of a denoiser beside its weights; it travels with the network.

prediction   what it predicts: "eps", "v", "x0", ...
schedule     the noise that it was trained with, an object with `alphas_cumprod`
data_range   (low, high) of the clean data

Plain attributes of a network, of any module that a user writes too; what has the name and is
something else is no fact.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, TypeVar

T = TypeVar("T")


def facts_of(network: object) -> dict[str, Any]:
    """What is known of `network`, by name."""
    found = {
        "prediction": getattr(network, "prediction", None),
        "schedule": getattr(network, "schedule", None),
        "data_range": getattr(network, "data_range", None),
    }
    is_fact = {
        "prediction": isinstance(found["prediction"], str),
        "schedule": hasattr(found["schedule"], "alphas_cumprod"),
        "data_range": isinstance(found["data_range"], tuple) and len(found["data_range"]) == 2,
    }
    return {name: value for name, value in found.items() if is_fact[name]}


def with_facts(network: T, facts: Mapping[str, Any]) -> T:
    """`network` itself, which now knows `facts`."""
    for name, value in facts.items():
        setattr(network, name, value)
    return network
