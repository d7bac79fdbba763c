"""Random numbers with one seed per sample, so that the batch size never changes a picture."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor


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
