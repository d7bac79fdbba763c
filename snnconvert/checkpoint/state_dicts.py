"""State dicts of foreign files, checked against the network that they are for."""

from __future__ import annotations

from typing import Any

from torch import Tensor, nn

from snnconvert.errors import CheckpointError
from snnconvert.files.tensors import read_file


def weights_of(path: str, model: nn.Module) -> dict[str, Tensor]:
    """The state dict in a file, plain or under a usual key, checked against `model`."""
    return checked_state(read_file(path), model, path)


def checked_state(content: Any, model: nn.Module, path: str) -> dict[str, Tensor]:
    """The state dict in the content of a file at `path` if it has the tensors of `model`.

    Raises:
        CheckpointError: it has others, which are named, or none.
    """
    for key in ("state_dict", "model", "model_state_dict", "ema"):
        if isinstance(content, dict) and isinstance(content.get(key), dict):
            content = content[key]
    if not isinstance(content, dict):
        raise CheckpointError(f"{path}: holds {type(content).__name__}, needed is a state dict")
    state = {str(key).removeprefix("module."): value for key, value in content.items()}
    wanted = model.state_dict()
    counters = {key for key in wanted if key.endswith("num_batches_tracked")}
    state = {**{key: wanted[key] for key in counters}, **state}  # old files have none
    wrong = sorted(set(state) ^ set(wanted)) or sorted(
        key for key in state if getattr(state[key], "shape", None) != wanted[key].shape
    )
    if wrong:
        more = f" and {len(wrong) - 5} more" if len(wrong) > 5 else ""
        listed = ", ".join(wrong[:5])
        raise CheckpointError(f"{path}: does not fit the model: {listed}{more}")
    return state
