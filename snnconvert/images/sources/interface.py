"""What every source of images offers, stored or drawn."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any, Protocol

from torch import Tensor

OnCall = Callable[[int], object]


class Source(Protocol):
    """A finite, ordered set of equally sized images.

    Attributes:
        name: as reports call it.
        image_size: (height, width).
        channels: 1 or 3.
    """

    name: str
    image_size: tuple[int, int]
    channels: int

    def __len__(self) -> int: ...

    def batches(
        self, batch_size: int, count: int, on_call: OnCall | None = None
    ) -> Iterator[Tensor]:
        """uint8 [B, C, H, W] of the first `count` images, in order.

        on_call: called with the network evaluations so far, images times calls, after each call
            of a network; stored images take none.
        """

    def facts(self) -> dict[str, Any]:
        """What a report says of the images; complete once they have been drawn."""


class StoredSource(Source, Protocol):
    """A source that exists before it is asked, so that its statistics can be kept."""

    def identity(self) -> str:
        """Text that changes when the images change."""
