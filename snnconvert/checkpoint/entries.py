"""A network as it lies in a checkpoint: its kind, its configuration and its tensors."""

from __future__ import annotations

from typing import Any

from torch import nn

from snnconvert.conversion.spiking.network import SpikingNetwork
from snnconvert.errors import CheckpointError
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
        state = {k: v.float() if v.is_floating_point() else v for k, v in entry["state"].items()}
        return family.restored(entry["config"], state).eval()
    except CheckpointError as error:
        raise CheckpointError(f"{source}: {error}") from error
    except (TypeError, ValueError, RuntimeError, OverflowError, AttributeError, KeyError,
            IndexError) as error:  # fmt: skip
        first = str(error).strip().splitlines()
        detail = " ".join(line.strip() for line in first[:2])
        raise CheckpointError(f"{source}: its {stage!r} network is damaged: {detail}") from error
