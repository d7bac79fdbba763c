"""Large tensors cut into pieces that stay in a processor's cache between elementwise operations.

A neuron layer is a chain of eight such operations. Over a whole activation of some megabytes each
of them reads and writes main memory; over pieces only the first and the last do.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator

import torch
from torch import Tensor

ELEMENTS = 1 << 18  # of a piece, per thread: a megabyte in float32


def pieces(first: Tensor, *others: Tensor) -> Iterable[tuple[Tensor, ...]]:
    """Views of tensors that broadcast over `first`, all cut alike along its first axis.

    What broadcasts along that axis, a threshold per channel for example, goes whole with each.
    """
    if not first.is_cpu or first.numel() <= ELEMENTS * torch.get_num_threads():
        return ((first, *others),)
    return _cut(first, *others)


def _cut(first: Tensor, *others: Tensor) -> Iterator[tuple[Tensor, ...]]:
    rows = len(first)
    most = max(1, ELEMENTS * torch.get_num_threads() * rows // first.numel())
    whole = [other.ndim < first.ndim or len(other) == 1 for other in others]
    for start in range(0, rows, most):
        part = slice(start, start + most)
        yield first[part], *(o if w else o[part] for o, w in zip(others, whole, strict=True))
