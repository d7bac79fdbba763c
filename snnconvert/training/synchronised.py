"""Batch norms whose statistics span every process of a data-parallel training."""

from __future__ import annotations

import copy

import torch
import torch.distributed as dist
from torch import Tensor, nn
from torch.distributed.nn.functional import all_reduce


class SynchronisedBatchNorm2d(nn.BatchNorm2d):
    """`nn.BatchNorm2d` over the batches of all processes, which must be of one size.

    torch's own SyncBatchNorm computes on GPUs only; this one also where gloo does. Gradients pass
    through the statistics, so the processes together compute what one does with all the data.
    """

    def forward(self, x: Tensor, timesteps: int = 1) -> Tensor:
        """As `nn.BatchNorm2d`; x may stand for `timesteps` copies of itself (`RepeatedNorm`)."""
        if not self.training:
            return super().forward(x)
        axes, world = [0, *range(2, x.ndim)], dist.get_world_size()
        mean = all_reduce(x.float().mean(axes)) / world
        centred = x.float() - mean.view(1, -1, 1, 1)
        variance = all_reduce(centred.square().mean(axes)) / world
        if self.running_mean is not None and self.running_var is not None:
            count = world * timesteps * x.numel() // x.shape[1]
            with torch.no_grad():
                self.num_batches_tracked.add_(1)  # type: ignore[union-attr]
                share = self.momentum or 1 / float(self.num_batches_tracked)  # type: ignore[arg-type]
                self.running_mean.lerp_(mean, share)
                self.running_var.lerp_(variance * (count / max(1, count - 1)), share)
        scale = (variance + self.eps).rsqrt()
        if self.weight is not None:
            scale = scale * self.weight
        y = centred * scale.view(1, -1, 1, 1)
        result: Tensor = (y if self.bias is None else y + self.bias.view(1, -1, 1, 1)).to(x.dtype)
        return result


def synchronised(network: nn.Module) -> nn.Module:
    """A copy of `network` in which every batch norm is synchronised; same weights, same names."""
    network = copy.deepcopy(network)
    for module in network.modules():
        if isinstance(module, nn.BatchNorm2d):
            module.__class__ = SynchronisedBatchNorm2d
    return network
