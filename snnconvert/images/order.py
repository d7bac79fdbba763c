"""Which images a training step sees: a function of the seed and the step's number alone."""

from __future__ import annotations

from functools import lru_cache

import torch
from torch import Tensor

from snnconvert.common.randomness import stream_seed


def step_indices(seed: int, step: int, batch_size: int, count: int) -> list[int]:
    """Indices of one step's images; every epoch visits all `count` images in a new order."""
    position, end, found = step * batch_size, (step + 1) * batch_size, []
    while position < end:
        epoch, first = divmod(position, count)
        found += epoch_order(seed, epoch, count)[first : first + end - position].tolist()
        position = step * batch_size + len(found)
    return found


@lru_cache(maxsize=2)  # a batch touches two epochs at most, unless the dataset is tiny
def epoch_order(seed: int, epoch: int, count: int) -> Tensor:
    """The permutation of `count` images in an epoch."""
    rng = torch.Generator().manual_seed(stream_seed(seed, epoch, "order"))
    return torch.randperm(count, generator=rng)
