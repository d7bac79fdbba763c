"""One process of several that share a generation, as `torchrun` starts them."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

import torch
import torch.distributed as dist
from torch import Tensor

from snnconvert.common.hardware import checked_device
from snnconvert.errors import InputError


@dataclass(frozen=True)
class Shard:
    """This process's share: blocks rank, rank + size, rank + 2 * size, ..."""

    rank: int
    size: int
    device: torch.device

    def gather(self, pixels: Tensor) -> list[Tensor]:
        """Every process's `pixels` (equal shapes) in order of rank, at rank 0; elsewhere none."""
        if self.size == 1:
            return [pixels]
        pixels = pixels.to(self.device).contiguous()
        parts = [torch.empty_like(pixels) for _ in range(self.size)] if self.rank == 0 else None
        dist.gather(pixels, parts)
        return [part.cpu() for part in parts or []]

    def wait(self) -> None:
        """Return when every process has come here."""
        if self.size > 1:
            dist.barrier()


WHOLE = Shard(0, 1, torch.device("cpu"))


@contextmanager
def open_shard(device: str = "auto") -> Iterator[Shard]:
    """The shard of this process, from torchrun's RANK and WORLD_SIZE; the whole without them.

    Args:
        device: "cpu", "cuda", "cuda:1", ...; "auto" is a GPU if there is one, for each process
            its own.

    Raises:
        InputError: no such device, or senseless RANK and WORLD_SIZE.
    """
    rank, size = numbered()
    local = environment_integer("LOCAL_RANK", 0)
    place = checked_device(device, local)
    if size == 1:
        yield Shard(rank, size, place)
        return
    if place.type == "cuda":
        torch.cuda.set_device(place)
    dist.init_process_group("nccl" if place.type == "cuda" else "gloo")
    try:
        yield Shard(rank, size, place)
        dist.barrier()  # nobody leaves while others still need it
    finally:
        dist.destroy_process_group()


def numbered() -> tuple[int, int]:
    """(number of this process, how many there are). InputError where they make no sense."""
    rank, size = environment_integer("RANK", 0), environment_integer("WORLD_SIZE", 1)
    if not 0 <= rank < size:
        raise InputError(f"RANK, WORLD_SIZE: found {rank}, {size}; start with torchrun")
    return rank, size


def environment_integer(name: str, default: int) -> int:
    text = os.environ.get(name, str(default))
    try:
        return int(text)
    except ValueError:
        raise InputError(f"{name}: found {text!r}, an integer is needed") from None
