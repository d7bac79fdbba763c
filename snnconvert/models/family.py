"""Kinds of networks that recipes and checkpoints name; each file of `models` registers its own."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, fields
from typing import Any

import torch
from torch import nn

from snnconvert.common.registry import Registry
from snnconvert.errors import InputError

TASKS = ("noise", "classes")  # what is predicted: the noise in (x, t), or the class of an image


@dataclass(frozen=True)
class Family:
    """One kind of network.

    Attributes:
        config: frozen dataclass with `to_dict()`; its field names are the recipe's keys.
        network: the module's class; it keeps its configuration as `.config`.
        stages: what a training goes through; each starts from the weights of the one before.
        task: "noise" (a denoiser) or "classes" (a classifier).
    """

    config: type[Any]
    network: type[nn.Module]
    stages: tuple[str, ...]
    task: str

    def build(self, config: Any) -> nn.Module:
        """A fresh network of that configuration."""
        make: Callable[[Any], nn.Module] = getattr(self.network, "from_config", self.network)
        return make(config)

    @property
    def keys(self) -> frozenset[str]:
        """Recipe keys that shape the network, `in_channels` excepted, which the images give."""
        return frozenset(f.name for f in fields(self.config)) - {"in_channels"}


MODELS: Registry[Family] = Registry("model")


def family_of(network: nn.Module) -> str:
    """Name of the kind of network; InputError for one that is none of `snnconvert.models`."""
    for name, family in MODELS.items():
        if type(network) is family.network:
            return name
    raise InputError(
        f"save: found {type(network).__name__}; allowed are converted networks and "
        f"{', '.join(sorted(family.network.__name__ for family in MODELS.values()))} "
        "(save others with torch.save(network.state_dict(), path))"
    )


def config_of(network: nn.Module) -> Any:
    return network.config


def stage_of(network: nn.Module) -> str:
    """ "qann" for a network with quantised clips, else the first stage of its kind."""
    stages = MODELS[family_of(network)].stages
    return "qann" if getattr(config_of(network), "levels", 0) else stages[0]


def entry_of(network: nn.Module, dtype: torch.dtype | None = None) -> dict[str, Any]:
    """A network of `snnconvert.models` as it lies in a checkpoint; weights in `dtype` if given.

    Only what is trained is rounded: not the statistics of batch norms, not frozen tables.
    """
    state = {
        key: value.detach().to("cpu", dtype if dtype and value.requires_grad else value.dtype)
        for key, value in network.state_dict(keep_vars=True).items()
    }
    return {"model": family_of(network), "config": config_of(network).to_dict(), "state": state}
