"""A network as a solver sees it: predictions of the noise, counted."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

from snnconvert.diffusion.schedule import Schedule


class Denoiser:
    """Calls `network(x [B, ...], t [B]) -> eps` without gradients and counts the calls.

    Attributes:
        nfe: network evaluations so far.
    """

    def __init__(self, network: Callable[[Tensor, Tensor], Tensor]) -> None:
        self.network = network
        self.nfe = 0
        self.on_call: Callable[[], None] | None = None

    @torch.no_grad()
    def __call__(self, x: Tensor, t: float) -> Tensor:
        """eps at one time t for the whole batch."""
        self.nfe += 1
        eps = self.network(x, torch.full((len(x),), float(t), device=x.device))
        if self.on_call is not None:
            self.on_call()
        return eps


def clean_and_noise(
    denoiser: Denoiser, x: Tensor, schedule: Schedule, t: float, clip: bool
) -> tuple[Tensor, Tensor]:
    """One evaluation: the predicted clean image and the noise that goes with it.

    With `clip` the image is kept in [-1, 1] and the noise recomputed, so that
    x = alpha(t) * x0 + sigma(t) * eps still holds.
    """
    alpha, sigma = float(schedule.alpha(t)), float(schedule.sigma(t))
    eps = denoiser(x, t)
    x0 = (x - sigma * eps) / alpha
    if clip:
        x0 = x0.clamp(-1, 1)
        eps = (x - alpha * x0) / sigma
    return x0, eps
