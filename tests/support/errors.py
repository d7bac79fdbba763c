"""How far what one network gives is from what another gives."""

from collections.abc import Sequence

from torch import Tensor


def relative_error(found: Tensor | Sequence[Tensor], wanted: Tensor | Sequence[Tensor]) -> float:
    """|found - wanted| / |wanted|, Euclidean, in float64, over one tensor or all of several."""
    if isinstance(found, Tensor) and isinstance(wanted, Tensor):
        found, wanted = [found], [wanted]
    pairs = [(a.detach().double(), b.detach().double()) for a, b in zip(found, wanted, strict=True)]
    gap = sum((a - b).square().sum().item() for a, b in pairs)
    return (gap / sum(b.square().sum().item() for _, b in pairs)) ** 0.5
