"""Random numbers with one seed per sample, so that the batch size never changes a picture."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from snnconvert.common.randomness import stream_seed


class SampleNoise:
    """Gaussian noise for a batch in which sample i draws from its own generator.

    Args:
        seeds: one integer per sample of the batch.
    """

    def __init__(self, seeds: Sequence[int]) -> None:
        self.generators = [torch.Generator().manual_seed(int(seed)) for seed in seeds]

    def __len__(self) -> int:
        return len(self.generators)

    def normal(self, shape: Sequence[int]) -> Tensor:
        """float32 [B, *shape]; each sample's stream goes on where it stopped."""
        return torch.stack([torch.randn(*shape, generator=g) for g in self.generators])

    def normal_like(self, x: Tensor) -> Tensor:
        """Noise of the shape, precision and device of `x` [B, ...], drawn in float32."""
        return self.normal(x.shape[1:]).to(x)


def image_seeds(seed: int, indices: Sequence[int]) -> list[int]:
    """Generator seeds of the images `indices` under one user seed. InputError as `stream_seed`."""
    return [stream_seed(seed, index) for index in indices]
