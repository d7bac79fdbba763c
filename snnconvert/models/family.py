"""Kinds of networks that recipes and checkpoints name; each file of `models` registers its own."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, fields
from typing import Any

from torch import nn

from snnconvert.common.registry import Registry

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
