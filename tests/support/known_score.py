"""A Gaussian mixture, whose denoiser is known exactly, and an independent integrator for it."""

from __future__ import annotations

import math

import torch
from torch import Tensor

from snnconvert.diffusion.schedule import NoiseLevels

MEANS = torch.tensor([[-0.6, 0.3], [0.5, -0.4], [0.2, 0.7]], dtype=torch.float64)
WEIGHTS = torch.tensor([0.3, 0.5, 0.2], dtype=torch.float64)
VARIANCE = 0.04


def exact_eps(x: Tensor, alpha: Tensor | float, sigma: Tensor | float) -> Tensor:
    """E[eps | x_t = x] of the mixture; x [B, 2], alpha and sigma numbers or [B, 1]."""
    alpha = torch.as_tensor(alpha, dtype=torch.float64).reshape(-1, 1, 1)
    sigma = torch.as_tensor(sigma, dtype=torch.float64).reshape(-1, 1, 1)
    gaps = x.double()[:, None] - alpha * MEANS
    spread = alpha**2 * VARIANCE + sigma**2
    shares = (WEIGHTS.log() - (gaps**2).sum(-1) / (2 * spread[..., 0])).softmax(-1)
    return (sigma[:, 0] * (shares[..., None] * gaps / spread).sum(1)).to(x)


def mixture_denoiser(schedule: NoiseLevels, calls: list | None = None):
    """`(x, t) -> eps` of the mixture; every call's t is appended to `calls`."""

    def network(x: Tensor, t: Tensor) -> Tensor:
        if calls is not None:
            calls.append(t)
        return exact_eps(x, schedule.alpha(t), schedule.sigma(t))

    return network


def start(count: int = 16, seed: int = 0) -> Tensor:
    generator = torch.Generator().manual_seed(seed)
    return torch.randn(count, 2, dtype=torch.float64, generator=generator)


def runge_kutta(x: Tensor, first: float, last: float, steps: int = 2000) -> Tensor:
    """x at lambda = last of the probability-flow ODE d(x/alpha)/d(sigma/alpha) = eps, from first.

    Classical fourth order in lambda; shares no code with the solvers.
    """

    def levels(half_log_snr: float) -> tuple[float, float]:
        alpha = 1 / math.sqrt(1 + math.exp(-2 * half_log_snr))
        return alpha, alpha * math.exp(-half_log_snr)

    def slope(half_log_snr: float, y: Tensor) -> Tensor:
        alpha, sigma = levels(half_log_snr)
        return -math.exp(-half_log_snr) * exact_eps(alpha * y, alpha, sigma)

    h, y = (last - first) / steps, x / levels(first)[0]
    for i in range(steps):
        here = first + i * h
        k1 = slope(here, y)
        k2 = slope(here + h / 2, y + h / 2 * k1)
        k3 = slope(here + h / 2, y + h / 2 * k2)
        y = y + h / 6 * (k1 + 2 * k2 + 2 * k3 + slope(here + h, y + h * k3))
    return levels(last)[0] * y
