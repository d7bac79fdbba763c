"""x + factor * y, of which every solver is made."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor


def plus(x: Tensor, factor: Any, y: Tensor) -> Tensor:
    """x + factor * y, a new tensor; one pass over memory unless there is a factor per sample."""
    if isinstance(factor, Tensor):
        return x + factor * y
    return torch.add(x, y, alpha=factor)
