"""A few of many values, drawn so that no pattern in an image can hide from them."""

from __future__ import annotations

import torch
from torch import Tensor


def drawn(rows: Tensor, wanted: int) -> Tensor:
    """At most `wanted` columns of `rows` [C, n], at positions drawn with a fixed seed.

    (Every n-th position would do, were it not that n often divides the width of an image: then it
    is always the same column of pixels.)
    """
    if wanted >= rows.shape[1]:
        return rows
    generator = torch.Generator().manual_seed(0)
    chosen = torch.randint(rows.shape[1], (wanted,), generator=generator)
    return rows[:, chosen.to(rows.device)]
