"""Networks in evaluation mode for a while."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager, suppress

from torch import nn


@contextmanager
def evaluating(*networks: object) -> Iterator[None]:
    """In evaluation mode inside; afterwards each of their modules is as it was.

    Args:
        networks: modules; anything else is left alone.
    """
    found = [network for network in networks if isinstance(network, nn.Module)]
    modules = [module for network in found for module in network.modules()]
    before = [module.training for module in modules]
    try:
        for network in found:
            with suppress(NotImplementedError):  # by what torch.export gives as a module
                network.eval()
        for module in modules:
            module.training = False
        yield
    finally:
        for module, was_training in zip(modules, before, strict=True):
            module.training = was_training
