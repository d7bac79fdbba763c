"""A network as it lies in a checkpoint: its kind, its configuration and its tensors."""

from __future__ import annotations

from typing import Any

import torch
from torch import nn

from snnconvert.conversion.spiking.network import SpikingNetwork
from snnconvert.errors import CheckpointError, InputError
from snnconvert.models import MODELS


def network_in(entry: dict[str, Any], stage: str, source: str) -> nn.Module:
    """The network of a stage, in evaluation mode; `source` names its file in errors.

    Raises:
        CheckpointError: it is damaged.
    """
    try:
        if stage == "snn":
            return SpikingNetwork.from_content(entry).eval()
        family = MODELS[entry.get("model", "unet")]
        model = family.build(family.config(**entry["config"]))
        state = {k: v.float() if v.is_floating_point() else v for k, v in entry["state"].items()}
        model.load_state_dict(state)  # strict: every tensor must be there, and no other
        return model.eval()
    except CheckpointError as error:
        raise CheckpointError(f"{source}: {error}") from error
    except (TypeError, RuntimeError, InputError, AttributeError, KeyError) as error:
        first = str(error).strip().splitlines()
        detail = " ".join(line.strip() for line in first[:2])
        raise CheckpointError(f"{source}: its {stage!r} network is damaged: {detail}") from error


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
    return stages[-1] if getattr(config_of(network), "levels", 0) else stages[0]


def entry_of(network: nn.Module, dtype: torch.dtype | None = None) -> dict[str, Any]:
    """A network of `snnconvert.models` as it lies in a checkpoint; weights in `dtype` if given.

    Only what is trained is rounded: not the statistics of batch norms, not frozen tables.
    """
    state = {
        key: value.detach().to("cpu", dtype if dtype and value.requires_grad else value.dtype)
        for key, value in network.state_dict(keep_vars=True).items()
    }
    return {"model": family_of(network), "config": config_of(network).to_dict(), "state": state}
