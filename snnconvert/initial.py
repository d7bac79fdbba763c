"""Weights that a training starts from, out of a checkpoint or a plain state dict."""

from __future__ import annotations

from torch import nn

from snnconvert.checkpoint import FORMAT, read_checkpoint, read_file
from snnconvert.errors import CheckpointError
from snnconvert.loading import stage_of
from snnconvert.sources import fitting


def start_from(path: str, network: nn.Module) -> nn.Module:
    """`network` with the weights in the file at `path`, all of them and no others.

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
        content = networks[stage]["state"]
    fill = getattr(network, "load_pretrained", None)
    if fill is not None:
        fill(content)
    else:
        network.load_state_dict(fitting(content, network, path))
    return network
