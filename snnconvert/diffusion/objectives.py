"""What a denoiser is trained on: the noise in a noised image."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from snnconvert.diffusion.schedule import Schedule


def noised_batch(
    images: Tensor, schedule: Schedule, generator: torch.Generator, *, spread: bool = False
) -> tuple[Tensor, Tensor, Tensor]:
    """(x_t, t, eps) of clean `images` [B, C, H, W] in [-1, 1].

    t is drawn from 0 ... diffusion_steps - 1, or with `spread` laid out evenly over that range
    (first image t = 0, last image the noisiest), for calibration and reports.
    """
    count = len(images)
    if spread:
        t = torch.linspace(0, len(schedule) - 1, count).round()
    else:
        t = torch.randint(len(schedule), (count,), generator=generator).float()
    eps = torch.randn(images.shape, generator=generator)
    return schedule.add_noise(images, eps, t), t, eps


def noise_loss(network: nn.Module, x: Tensor, t: Tensor, eps: Tensor) -> Tensor:
    """Mean squared error of the predicted noise (Ho et al. 2020, equation 14)."""
    return nn.functional.mse_loss(network(x, t).float(), eps)
