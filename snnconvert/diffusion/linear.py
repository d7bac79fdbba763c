"""x + factor * y, of which every solver is made."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor


def plus(x: Tensor, factor: Any, y: Tensor) -> Tensor:
    """x + factor * y, a new tensor; in one pass over memory, where that rounds no factor."""
    if isinstance(factor, Tensor) or x.dtype in (torch.float16, torch.bfloat16):
        result: Tensor = x + factor * y
        return result
    return torch.add(x, y, alpha=factor)
