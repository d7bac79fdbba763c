"""A network as it lies in a checkpoint: its kind, its configuration and its tensors."""

from __future__ import annotations

from typing import Any

from torch import nn

from snnconvert.conversion.capture.captured_network import CapturedNetwork
from snnconvert.conversion.spiking.network import SpikingNetwork
from snnconvert.errors import CheckpointError
from snnconvert.models import MODELS
from snnconvert.models.family import entry_of, stage_of
from snnconvert.neurons.spiking import spiking

CAPTURED = "captured"  # the kind of a network that no class makes: its own program


def stored(network: nn.Module) -> tuple[str, dict[str, Any]]:
    """The stage of a network, and what lies in a checkpoint for it.

    Raises:
        InputError: it is none that a checkpoint can hold.
    """
    if (own := spiking(network)) is not None:
        return own.stage, own.to_content()
    if isinstance(network, CapturedNetwork):
        stage = "qann" if network.levels else "ann"
        return stage, {"model": CAPTURED, **network.to_content()}
    return stage_of(network), entry_of(network)


def network_in(entry: dict[str, Any], stage: str, source: str) -> nn.Module:
    """The network of a stage, in evaluation mode; `source` names its file in errors.

    Raises:
        CheckpointError: it is damaged.
    """
    try:
        if stage == "snn":
            return SpikingNetwork.from_content(entry).eval()
        if entry.get("model") == CAPTURED:
            return CapturedNetwork.from_content(entry).eval()
        family = MODELS[entry.get("model", "unet")]
        state = {k: v.float() if v.is_floating_point() else v for k, v in entry["state"].items()}
        return family.restored(entry["config"], state).eval()
    except CheckpointError as error:
        raise CheckpointError(f"{source}: {error}") from error
    except (TypeError, ValueError, RuntimeError, OverflowError, AttributeError, KeyError,
            IndexError) as error:  # fmt: skip
        first = str(error).strip().splitlines()
        detail = " ".join(line.strip() for line in first[:2])
        raise CheckpointError(f"{source}: its {stage!r} network is damaged: {detail}") from error
