"""Hashes of plain values and tensors, which tell whether two things are the same."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable
from typing import Any

import torch


def fingerprint(value: Any) -> str:
    """A hash of plain values and tensors, to tell whether two things are the same."""
    digest = hashlib.sha256()

    def add(item: Any) -> None:
        if isinstance(item, torch.Tensor):
            digest.update(f"{item.dtype}{tuple(item.shape)}".encode())
            flat = item.detach().cpu().contiguous().flatten()
            flat = flat.as_strided(flat.shape, (1,))  # one element's stride may be anything
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


def weight_digests(tensors: Iterable[torch.Tensor]) -> list[str]:
    """Short hashes of the values of weights, sorted, each once, whatever their names and types.

    Tensors of one value throughout, which tell nothing of a training, are left out.
    """
    found = set()
    for tensor in tensors:
        value = tensor.detach()
        if not value.is_floating_point() or value.numel() < 2:
            continue
        if bool((value != value.flatten()[0]).any()):
            found.add(fingerprint(value.to("cpu", torch.float32))[:16])
    return sorted(found)
