"""The ONNX operations that can be read, by name; one small function each."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from snnconvert.common.registry import Registry

Handler = Callable[[Any], Any]  # of a `Call`: a value, or a tuple of them


@dataclass(frozen=True)
class Operation:
    """How one ONNX operation is computed.

    Attributes:
        run: with tensors.
        host: where every input is known when the network is captured (arithmetic of shapes); None
            where that makes no difference.
    """

    run: Handler
    host: Handler | None = None


OPERATIONS: Registry[Operation] = Registry("ONNX operation")


def operation(*names: str, host: Handler | None = None) -> Callable[[Handler], Handler]:
    """Decorator that files a handler under `names`."""

    def add(run: Handler) -> Handler:
        for name in names:
            OPERATIONS.register(name)(Operation(run, host))
        return run

    return add
