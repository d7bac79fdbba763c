"""Networks from files and back."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch
from torch import nn

from snnconvert.checkpoint.format import read_checkpoint, save_checkpoint
from snnconvert.conversion.capture.captured_network import CapturedNetwork
from snnconvert.conversion.spiking.network import SpikingNetwork
from snnconvert.errors import CheckpointError, InputError
from snnconvert.models import MODELS


def load(path: str | Path, stage: str | None = None) -> nn.Module:
    """The network in a checkpoint, in evaluation mode.

    Args:
        path: a `.pt` file written by snnconvert, or a `.pt2` file written by torch.export.save
            (read as data: no code in it runs).
        stage: "ann", "qann", "snn" or "spiking" where the file holds several; default the most
            advanced.

    Raises:
        CheckpointError: no readable checkpoint, or it holds no such stage.
    """
    if str(path).endswith(".pt2"):
        from snnconvert.conversion.capture.pt2 import read_pt2

        return CapturedNetwork(read_pt2(path)).eval()
    return network_from(read_checkpoint(path), stage, str(path))


def network_from(content: dict[str, Any], stage: str | None, source: str) -> nn.Module:
    """As `load`, from the content of a checkpoint; `source` names it in errors."""
    stage = stage or content["stage"]
    if stage not in content["networks"]:
        held = ", ".join(content["networks"])
        raise CheckpointError(f"{source}: holds no {stage!r} network; it holds: {held}")
    network = content["networks"][stage]
    try:
        if stage == "snn":
            return SpikingNetwork.from_content(network).eval()
        family = MODELS[network.get("model", "unet")]
        model = family.build(family.config(**network["config"]))
        state = {k: v.float() if v.is_floating_point() else v for k, v in network["state"].items()}
        model.load_state_dict(state)  # strict: every tensor must be there, and no other
        return model.eval()
    except CheckpointError as error:
        raise CheckpointError(f"{source}: {error}") from error
    except (TypeError, RuntimeError, InputError, AttributeError, KeyError) as error:
        first = str(error).strip().splitlines()
        detail = " ".join(line.strip() for line in first[:2])
        raise CheckpointError(f"{source}: its {stage!r} network is damaged: {detail}") from error


def save(network: nn.Module, path: str | Path, like: dict[str, Any] | None = None) -> None:
    """Write a network, atomically, so that `load` reads it without code.

    Args:
        network: a converted network, or one of `snnconvert.models`.
        path: of the file.
        like: content of the checkpoint it came from; recipe, probe and provenance carry over.

    Raises:
        InputError: a network of another kind, or a file that cannot be written.
    """
    save_checkpoint(path, content_of(network, like))


def content_of(network: nn.Module, like: dict[str, Any] | None = None) -> dict[str, Any]:
    """What `save` writes."""
    if isinstance(network, SpikingNetwork):
        stage, entry = "snn", network.to_content()
    else:
        stage, entry = stage_of(network), entry_of(network)
    kept = {key: like[key] for key in ("recipe", "probe", "provenance")} if like else {}
    provenance = {**kept.get("provenance", {}), "torch": str(torch.__version__)}
    return {**kept, "provenance": provenance, "stage": stage, "networks": {stage: entry}}


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
