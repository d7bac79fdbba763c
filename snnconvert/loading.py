"""Networks from files and back."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch
from torch import nn

from snnconvert.checkpoint import read_checkpoint, save_checkpoint
from snnconvert.conversion.captured_network import CapturedNetwork
from snnconvert.conversion.network import SpikingNetwork
from snnconvert.errors import CheckpointError, InputError
from snnconvert.models.unet import UNet, UNetConfig


def load(path: str | Path, stage: str | None = None) -> nn.Module:
    """The network in a checkpoint, in evaluation mode.

    Args:
        path: a `.pt` file written by snnconvert, or a `.pt2` file written by torch.export.save
            (read as data: no code in it runs).
        stage: "ann", "qann" or "snn" where the file holds several; default the most advanced.

    Raises:
        CheckpointError: no readable checkpoint, or it holds no such stage.
    """
    if str(path).endswith(".pt2"):
        from snnconvert.conversion.pt2 import read_pt2

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
        model = UNet(UNetConfig(**network["config"]))
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
    """Write a converted network or a U-Net, atomically, so that `load` reads it without code.

    Args:
        network: what `convert` or `load` returned.
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
    elif isinstance(network, UNet):
        stage = "qann" if network.config.levels else "ann"
        state = {k: v.detach().cpu() for k, v in network.state_dict().items()}
        entry = {"config": network.config.to_dict(), "state": state}
    else:
        raise InputError(
            f"save: found {type(network).__name__}; allowed are converted networks and UNet "
            "(save others with torch.save(network.state_dict(), path))"
        )
    kept = {key: like[key] for key in ("recipe", "probe", "provenance")} if like else {}
    provenance = {**kept.get("provenance", {}), "torch": str(torch.__version__)}
    return {**kept, "provenance": provenance, "stage": stage, "networks": {stage: entry}}
