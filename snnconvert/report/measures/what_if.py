"""The quantised ANN with some of its quantisers left out: what each of them costs the output."""

from __future__ import annotations

from collections.abc import Collection
from typing import Any

import torch
from torch.utils._python_dispatch import TorchDispatchMode

FINE = 1 << 16  # levels of a clip that only clips


class WhatIf(TorchDispatchMode):
    """Inside, the network is the quantised ANN of `levels`, but for the clips named.

    Args:
        levels: steps of the quantised clips; `FINE` for clips that do not round.
        exact: numbers, in execution order, of clips that let everything through that their
            activation does (all above zero; all, where it is signed).
    """

    def __init__(self, levels: int, exact: Collection[int] = ()) -> None:
        super().__init__()
        self.levels, self.exact, self.number = levels, frozenset(exact), -1

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        if func is not torch.ops.snnconvert.quantized_clip.default:
            return func(*args, **(kwargs or {}))
        self.number += 1
        x, ceiling, _, *rest = args
        if self.number in self.exact:
            return x.clone() if rest and rest[0] else x.relu()
        if self.levels == FINE:
            rest = rest[:1]  # to the nearest
        return func(x, ceiling, self.levels, *rest, **(kwargs or {}))
