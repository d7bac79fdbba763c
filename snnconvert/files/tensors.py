"""Plain values and tensors out of a file; no code in it ever runs."""

from __future__ import annotations

import zipfile
from pathlib import Path
from typing import Any

import torch
from torch.torch_version import TorchVersion  # a str that old files hold in their provenance

from snnconvert.errors import CheckpointError


def read_file(path: str | Path) -> Any:
    """Plain values and tensors of a file written by `torch.save`; no code in it ever runs.

    Raises:
        CheckpointError: missing, truncated, foreign, or a pickle that holds code.
    """
    path = Path(path)
    try:
        if path.is_dir():
            raise CheckpointError(f"{path}: is a folder; name a file")
        if not path.is_file():
            raise CheckpointError(f"{path}: no such file")
        with torch.serialization.safe_globals([TorchVersion]):
            content = torch.load(path, map_location="cpu", weights_only=True)
    except CheckpointError:
        raise
    except Exception as error:  # damaged bytes can raise nearly anything inside the unpickler
        if isinstance(error, OSError):
            raise CheckpointError(f"{path}: cannot be read ({error.strerror})") from error
        raise CheckpointError(f"{path}: {unreadable(path, error)}") from error
    return content


def unreadable(path: Path, error: Exception) -> str:
    """Why `torch.load` refused: a damaged file, or one that would have run code."""
    foreign = "Unsupported global" in str(error) or "weights_only" in str(error)
    if foreign and zipfile.is_zipfile(path):
        return (
            "holds Python objects, which could run code, and is refused; save plain "
            "tensors (a state_dict) or export the network with torch.export"
        )
    return "is damaged or no checkpoint; write it again with `snnconvert train` or `convert`"
