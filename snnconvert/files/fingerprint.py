"""A hash of plain values and tensors."""

from __future__ import annotations

import hashlib
from typing import Any

import torch


def fingerprint(value: Any) -> str:
    """A hash of plain values and tensors, to tell whether two things are the same."""
    digest = hashlib.sha256()

    def add(item: Any) -> None:
        if isinstance(item, torch.Tensor):
            digest.update(f"{item.dtype}{tuple(item.shape)}".encode())
            flat = item.detach().cpu().contiguous().flatten()
            digest.update(flat.view(torch.uint8).numpy().tobytes())
        elif isinstance(item, dict):
            for key in sorted(item, key=str):
                digest.update(f"{key}:".encode())
                add(item[key])
        elif isinstance(item, (list, tuple)):
            for part in item:
                add(part)
        else:
            digest.update(f"{item!r};".encode())

    add(value)
    return digest.hexdigest()
