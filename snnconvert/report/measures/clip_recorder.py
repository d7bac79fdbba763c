"""Watches the quantisers of a running ANN, whatever kind of module calls them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode

from snnconvert.operators.clip import HALF


@dataclass(frozen=True)
class ClipCall:
    """One quantised clip in one call: what went in and came out, and where it rounds."""

    x: Tensor
    q: Tensor
    v_init: Tensor | float


class ClipRecorder(TorchDispatchMode):
    """Records every quantised clip in execution order, as `levels` steps.

    Inside the context the network is the quantised ANN of `levels` whatever it was trained with.

    Attributes:
        seen: our quantised clips.
        foreign: number of PyTorch's own fake quantisers.
    """

    def __init__(self, levels: int) -> None:
        super().__init__()
        self.levels = levels
        self.seen: list[ClipCall] = []
        self.foreign = 0

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        if func is not torch.ops.snnconvert.quantized_clip.default:
            self.foreign += "fake_quantize" in str(func)
            return func(*args, **(kwargs or {}))
        x, ceiling, _, *rest = args
        output = func(x, ceiling, self.levels, *rest, **(kwargs or {}))
        v_init = rest[1] if len(rest) > 1 and rest[1] is not None else HALF
        self.seen.append(ClipCall(x, output, v_init))
        return output
