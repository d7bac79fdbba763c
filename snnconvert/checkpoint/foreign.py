"""Files that are no checkpoints of ours: what they are, and how their network comes in."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from torch import Tensor

WHOLE = "save the whole network by torch.export.save as .pt2, or as .onnx"


def described(content: Any) -> str:
    """What a file that `torch.save` wrote holds instead of a checkpoint, and what to do."""
    if isinstance(content, Tensor):
        return f"holds a tensor {list(content.shape)}, no network; inputs are given by --calibrate"
    if isinstance(content, Mapping) and any(has_tensors(value) for value in content.values()):
        return (
            "holds weights alone (a state dict); name the network that they belong to: "
            f"`--model MODULE:FACTORY FILE` of `convert`, or {WHOLE}"
        )
    return f"is no snnconvert checkpoint (it holds: {type(content).__name__}); {WHOLE}"


def has_tensors(value: Any) -> bool:
    """Whether `value` is a tensor, or a table with one at any depth that is read."""
    if isinstance(value, Mapping):
        return any(has_tensors(inner) for inner in value.values())
    return isinstance(value, Tensor)
