"""Watches the quantisers of a running ANN, whatever kind of module calls them."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode


class QuantizerProbe(TorchDispatchMode):
    """Records (input, output) of every quantised clip in execution order, as `levels` steps.

    Inside the context the network is the quantised ANN of `levels` whatever it was trained with.
    """

    def __init__(self, levels: int) -> None:
        super().__init__()
        self.levels = levels
        self.seen: list[tuple[Tensor, Tensor]] = []

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        if func is not torch.ops.snnconvert.quantized_clip.default:
            return func(*args, **(kwargs or {}))
        x, ceiling, _, *signed = args
        output = func(x, ceiling, self.levels, *signed, **(kwargs or {}))
        self.seen.append((x, output))
        return output
