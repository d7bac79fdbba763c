"""The averaged network that a training keeps."""

from __future__ import annotations

from collections.abc import Iterable

import torch
from torch import Tensor, nn


def update_average(average: nn.Module, network: nn.Module, decay: float) -> None:
    """Exponential moving average of weights and of the statistics of batch norms."""
    with torch.no_grad():
        torch._foreach_lerp_(list(average.parameters()), list(network.parameters()), 1 - decay)
        for mean, latest in zip(average.buffers(), network.buffers(), strict=True):
            if mean.is_floating_point():
                mean.lerp_(latest, 1 - decay)
            else:
                mean.copy_(latest)


@torch.no_grad()
def settle_statistics(average: nn.Module, batches: Iterable[tuple[Tensor, ...]]) -> None:
    """Batch-norm statistics of the averaged weights themselves, from fresh training inputs."""
    norms = [module for module in average.modules() if isinstance(module, nn.BatchNorm2d)]
    if not norms:
        return
    momenta = [norm.momentum for norm in norms]
    for norm in norms:
        norm.reset_running_stats()
        norm.momentum = None  # plain mean over the batches
    average.train()
    for inputs in batches:
        average(*inputs)
    for norm, momentum in zip(norms, momenta, strict=True):
        norm.momentum = momentum
    average.eval()
