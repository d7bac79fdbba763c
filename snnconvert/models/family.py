"""Kinds of networks that recipes and checkpoints name; each file of `models` registers its own."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, fields
from typing import Any

import torch
from torch import Tensor, nn

from snnconvert.common.checks import like_default
from snnconvert.common.registry import Registry
from snnconvert.errors import InputError

MOST_STEPS = 65_535  # of neurons, and of quantisers: as many as 16 spikes of the radix code tell
TASKS = ("noise", "classes")  # what is predicted: the noise in (x, t), or the class of an image


@dataclass(frozen=True)
class Family:
    """One kind of network.

    Attributes:
        config: frozen dataclass with `to_dict()`; its field names are the recipe's keys.
        network: the module's class; it keeps its configuration as `.config`.
        stages: what a training goes through; each starts from the weights of the one before.
        task: "noise" (a denoiser) or "classes" (a classifier).
        sizes: fields of `config` that are a size of some tensor of the network, or divide one.
        counts: fields of which so many tensors, or more, come.
    """

    config: type[Any]
    network: type[nn.Module]
    stages: tuple[str, ...]
    task: str
    sizes: tuple[str, ...] = ("in_channels", "channels", "channel_mult", "patch")
    counts: tuple[str, ...] = ("blocks", "channel_mult")

    def build(self, config: Any) -> nn.Module:
        """A fresh network of that configuration."""
        make: Callable[[Any], nn.Module] = getattr(self.network, "from_config", self.network)
        return make(config)

    def restored(self, config: Mapping[str, Any], state: Mapping[str, Tensor]) -> nn.Module:
        """The network of a stored configuration with its tensors.

        Nothing is made before the configuration is bounded by the tensors, and nothing takes
        memory before it fits them.

        Raises:
            InputError: a configuration of other tensors, with values of other types, or none.
            RuntimeError: tensors of other names or shapes, by `load_state_dict`.
        """
        defaults = {field.name: field.default for field in fields(self.config)}
        config = {name: like_default(name, value, defaults[name]) if name in defaults else value
                  for name, value in config.items()}  # fmt: skip
        self._refuse_larger(config, state)
        made = self.config(**config)
        with torch.device("meta"):  # shapes only
            empty = self.build(made)
        for key, value in empty.state_dict().items():
            if key in state and state[key].shape != value.shape:  # PyTorch takes [1] for []
                raise RuntimeError(
                    f"size mismatch for {key}: found {list(state[key].shape)}, its configuration "
                    f"makes {list(value.shape)}"
                )
        fits = empty.state_dict().keys() == state.keys()
        network = self.build(made) if fits else empty
        network.load_state_dict(state)  # strict: every tensor must be there, and no other
        return network

    def _refuse_larger(self, config: Mapping[str, Any], state: Mapping[str, Tensor]) -> None:
        """InputError for a size that no tensor has, or more parts than there are tensors."""
        largest = max((size for value in state.values() for size in value.shape), default=0)
        for name in self.sizes:
            given = config.get(name, 0)
            if max(given if isinstance(given, list | tuple) else [given], default=0) > largest:
                raise InputError(f"{name}: found {given!r}, its tensors are up to {largest} wide")
        parts = 1
        for name in self.counts:
            given = config.get(name, 1)
            parts *= len(given) if isinstance(given, list | tuple) else given
        if parts > len(state):
            named = " x ".join(self.counts)
            raise InputError(f"{named}: found {parts} parts, it holds {len(state)} tensors")

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
