"""Random numbers with one seed per sample, so that the batch size never changes a picture."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from snnconvert.errors import InputError

LARGEST_SEED = 2**31 - 1
GOLDEN = 0x9E3779B1  # 2^32 over the golden ratio, made odd


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
    """Generator seeds of the images `indices` under one user seed.

    torch's CPU generator looks at 32 bits of its seed only, so `(seed << 32) + index` would forget
    the user's seed. Golden-ratio multiples keep user seeds apart: 0 ... 999 share no image among
    their first million each.

    Raises:
        InputError: `seed` is no integer in 0 ... 2^31 - 1.
    """
    if isinstance(seed, bool) or not isinstance(seed, int) or not 0 <= seed <= LARGEST_SEED:
        raise InputError(f"seed: found {seed!r}, allowed are integers 0 ... {LARGEST_SEED}")
    return [(seed * GOLDEN + index) % 2**32 for index in indices]
