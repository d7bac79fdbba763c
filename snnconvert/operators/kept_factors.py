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

Kept = dict[Hashable, tuple[Tensor, ...]]  # factors by what they are for, and what they are made of
MADE_OF = "made of"


def kept_factors(
    kept: Kept, ceiling: Tensor, steps: int, v_init: Tensor | float, x: Tensor
) -> Factors:
    """As `factors_of`; from `kept` where it holds those of the same threshold and start.

    Args:
        kept: of one layer, empty at first; changed in place.
    """
    sources = (ceiling, v_init) if isinstance(v_init, Tensor) else (ceiling,)
    if torch.compiler.is_compiling() or not all(map(comparable, sources)):
        return factors_of(ceiling, steps, v_init, x)
    before = kept.get(MADE_OF, ())
    if len(sources) != len(before) or not all(map(same, sources, before)):
        kept.clear()
        kept[MADE_OF] = tuple(source.detach().clone() for source in sources)
    key = steps, x.ndim, x.dtype, x.device, torch.is_inference_mode_enabled()
    found = kept.get(key)
    if found is None:
        found = kept[key] = factors_of(ceiling, steps, v_init, x)
    return Factors(*found)


def comparable(source: Tensor) -> bool:
    """Whether its values are at hand, and nothing that is made of it learns."""
    learning = source.requires_grad and torch.is_grad_enabled()
    return type(source) in (Tensor, torch.nn.Parameter) and source.is_cpu and not learning


def same(source: Tensor, before: Tensor) -> bool:
    return source.dtype == before.dtype and torch.equal(source, before)
