"""Weights that a training starts from, out of a checkpoint or a plain state dict."""

from __future__ import annotations

from typing import Any

from torch import nn

from snnconvert.checkpoint.format import FORMAT, read_checkpoint
from snnconvert.errors import CheckpointError
from snnconvert.files.tensors import read_file
from snnconvert.models.family import config_of, stage_of
from snnconvert.models.spiking.variants import has_factors, load_pretrained
from snnconvert.models.state_dicts import checked_state


def start_from(path: str, network: nn.Module) -> nn.Module:
    """`network` with the weights in the file at `path`, all of them and no others.

    A spiking U-Net with TSM also starts from one without.

    Raises:
        CheckpointError: unreadable, no network of this kind, missing or extra tensors.
    """
    content = read_file(path)
    if isinstance(content, dict) and content.get("format") == FORMAT:
        networks, stage = read_checkpoint(path)["networks"], stage_of(network)
        if stage not in networks:
            raise CheckpointError(
                f"{path}: holds no {stage!r} network to start from, only: {', '.join(networks)}"
            )
        refuse_other_timesteps(path, networks[stage]["config"], network)
        content = networks[stage]["state"]
    if has_factors(network.state_dict()) and not has_factors(content):
        return load_pretrained(network, content)
    network.load_state_dict(checked_state(content, network, path))
    return network


def refuse_other_timesteps(path: str, trained: dict[str, Any], network: nn.Module) -> None:
    """CheckpointError if the network in the file was trained for another number of steps."""
    wanted = getattr(config_of(network), "timesteps", None)
    if trained.get("timesteps", wanted) != wanted:
        raise CheckpointError(
            f"{path}: was trained for timesteps = {trained['timesteps']}, the recipe has {wanted}; "
            "make them equal, or start from a plain state dict of it if that is what you want"
        )
