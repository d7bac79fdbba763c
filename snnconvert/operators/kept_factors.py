"""What neurons multiply by, kept from call to call.

Making it anew takes longer than counting does where a layer is small. A threshold that was changed
in place is noticed by its values, whatever changed it. On a processor that comparison is one short
operation; elsewhere it would wait for the device, and nothing is kept.
"""

from __future__ import annotations

from collections.abc import Hashable

import torch
from torch import Tensor

from snnconvert.operators.clip import Factors, factors_of


class KeptFactors:
    """The factors of one layer: as `factors_of`, made again where what they are made of changed."""

    def __init__(self) -> None:
        self.made_of: tuple[Tensor, ...] = ()
        self.factors: dict[Hashable, Factors] = {}

    def of(self, ceiling: Tensor, steps: int, v_init: Tensor | float, x: Tensor) -> Factors:
        """Those of values like `x`, in its dtype."""
        sources = (ceiling, v_init) if isinstance(v_init, Tensor) else (ceiling,)
        if torch.compiler.is_compiling() or not all(map(comparable, sources)):
            return factors_of(ceiling, steps, v_init, x)
        if len(sources) != len(self.made_of) or not all(map(same, sources, self.made_of)):
            self.made_of = tuple(source.detach().clone() for source in sources)
            self.factors = {}
        key = (steps, v_init if len(sources) == 1 else None, x.ndim, x.dtype, x.device,
               torch.is_inference_mode_enabled())  # fmt: skip
        if key not in self.factors:
            self.factors[key] = factors_of(ceiling, steps, v_init, x)
        return self.factors[key]


def comparable(source: Tensor) -> bool:
    """Whether its values are at hand, and nothing that is made of it learns."""
    learning = source.requires_grad and torch.is_grad_enabled()
    return type(source) in (Tensor, torch.nn.Parameter) and source.is_cpu and not learning


def same(source: Tensor, before: Tensor) -> bool:
    return source.dtype == before.dtype and torch.equal(source, before)
