"""A denoiser of points of the plane that is exact without training: normal data of one variance."""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn

from snnconvert.diffusion.schedule import Schedule

STD = 0.5  # of the data
DIRECTIONS = 8


class NormalDenoiser(nn.Module):
    """eps(x, t) = sigma x / (alpha^2 STD^2 + sigma^2), with x written as a sum of ReLUs."""

    def __init__(self, schedule: Schedule) -> None:
        super().__init__()
        t = torch.arange(len(schedule)).double()
        alpha, sigma = schedule.alpha(t), schedule.sigma(t)
        self.register_buffer("scale", (sigma / (alpha**2 * STD**2 + sigma**2)).float())
        angles = torch.arange(DIRECTIONS) * 2 * math.pi / DIRECTIONS
        frame = torch.stack([angles.cos(), angles.sin()], 1)
        self.up = nn.Linear(2, DIRECTIONS, bias=False)
        self.down = nn.Linear(DIRECTIONS, 2, bias=False)
        self.up.weight.data, self.down.weight.data = frame, frame.T * 4 / DIRECTIONS

    def forward(self, x: Tensor, t: Tensor) -> Tensor:
        return self.down(torch.relu(self.up(x))) * self.scale[t.round().long()][:, None]


class LabelledDenoiser(NormalDenoiser):
    """As it is; whole times as [B, 1], and a label."""

    def forward(self, x: Tensor, t: Tensor, label: Tensor) -> Tensor:
        shift = 0.0 * label[:, None]
        return super().forward(x + shift, t[:, 0])


def points(count: int, seed: int = 0) -> Tensor:
    """Data."""
    return STD * torch.randn(count, 2, generator=torch.Generator().manual_seed(seed))
