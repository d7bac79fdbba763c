"""Adam with steps relative to the size of each weight, so that one rate suits any network."""

from __future__ import annotations

import math
from collections.abc import Collection, Mapping

import torch
from torch import Tensor

SMALLEST = 0.05  # size of a weight below which it is taken to have this one: biases may be zero


class RelativeAdam:
    """Trains tensors.

    Args:
        start: tensors by name; left as they are.
        positive: names of those that must stay positive; they are trained by their logarithm.
        rate: relative change in one step at the start; it falls to zero along a cosine.
        steps: in all.
        channels_last: lay convolution weights out so.
    """

    def __init__(
        self,
        start: Mapping[str, Tensor],
        positive: Collection[str],
        rate: float,
        steps: int,
        channels_last: bool = False,
    ) -> None:
        self.positive = positive
        self.leaves: dict[str, Tensor] = {}
        groups = []
        for name, value in start.items():
            leaf = (value.log() if name in positive else value).detach().clone()
            if channels_last and leaf.ndim == 4:
                leaf = leaf.contiguous(memory_format=torch.channels_last)
            size = 1.0 if name in positive else max(float(value.square().mean().sqrt()), SMALLEST)
            self.leaves[name] = leaf.requires_grad_()
            groups.append({"params": [leaf], "lr": rate * size})
        self.optimizer = torch.optim.Adam(groups, foreach=True)
        self.schedule = torch.optim.lr_scheduler.LambdaLR(
            self.optimizer, lambda step: 0.5 * (1 + math.cos(math.pi * min(1.0, step / steps)))
        )

    def values(self) -> dict[str, Tensor]:
        """The tensors now, with gradients."""
        return {n: v.exp() if n in self.positive else v for n, v in self.leaves.items()}

    def step(self, loss: Tensor) -> None:
        self.optimizer.zero_grad()
        loss.backward()
        self.optimizer.step()
        self.schedule.step()

    def result(self) -> dict[str, Tensor]:
        """The tensors now, plain and contiguous."""
        return {name: value.detach().contiguous() for name, value in self.values().items()}
