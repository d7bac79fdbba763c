"""The variance-preserving noise schedule: x_t = alpha(t) * x_0 + sigma(t) * eps.

Ho et al. 2020 for the betas; Lu et al. 2022 (DPM-Solver) for the interpolation between whole t.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from snnconvert.errors import InputError

CLEAN = -1  # the time that stands for clean data in a grid: alpha 1, sigma 0


@dataclass(frozen=True)
class Schedule:
    """Noise levels of a diffusion process.

    Args:
        alphas_cumprod: float64 [diffusion_steps], strictly decreasing inside (0, 1).

    t is 0 (almost clean) ... diffusion_steps - 1 (noise) and may be fractional: log alpha is
    interpolated linearly. t = -1 is clean data.
    """

    alphas_cumprod: Tensor

    def __post_init__(self) -> None:
        a = self.alphas_cumprod
        if a.ndim != 1 or len(a) < 1 or a.dtype != torch.float64:
            raise InputError("alphas_cumprod: a one-dimensional float64 tensor is needed")
        if not (bool((a > 0).all()) and bool((a < 1).all()) and bool((a.diff() < 0).all())):
            raise InputError("alphas_cumprod: must decrease strictly inside (0, 1)")

    @classmethod
    def from_betas(cls, betas: Tensor) -> Schedule:
        """Schedule of the per-step noise variances `betas` [diffusion_steps], each in (0, 1)."""
        return cls(torch.cumprod(1 - betas.double(), 0))

    @classmethod
    def linear(
        cls, diffusion_steps: int = 1000, beta_first: float = 1e-4, beta_last: float = 0.02
    ) -> Schedule:
        """DDPM's schedule: betas evenly spaced from `beta_first` to `beta_last`."""
        if diffusion_steps < 1:
            raise InputError(f"diffusion_steps: found {diffusion_steps}, allowed are 1 and more")
        return cls.from_betas(
            torch.linspace(beta_first, beta_last, diffusion_steps, dtype=torch.float64)
        )

    def __len__(self) -> int:
        return len(self.alphas_cumprod)

    def log_alpha(self, t: Tensor | float) -> Tensor:
        """log alpha(t), float64, any shape; exactly 0 at t = -1."""
        t = torch.as_tensor(t, dtype=torch.float64)
        if bool(((t != CLEAN) & ((t < 0) | (t > len(self) - 1))).any()):
            raise InputError(
                f"t: found {t.min():g} ... {t.max():g}, allowed are 0 ... {len(self) - 1}, "
                f"or {CLEAN} for clean data"
            )
        knots = 0.5 * self.alphas_cumprod.log()
        left = t.clamp(0, max(len(self) - 2, 0)).floor().long()
        right = (left + 1).clamp_max(len(self) - 1)
        value = torch.lerp(knots[left], knots[right], (t - left).clamp_min(0))
        return torch.where(t == CLEAN, 0.0, value)

    def alpha(self, t: Tensor | float) -> Tensor:
        """Share of the clean image at time t."""
        return self.log_alpha(t).exp()

    def sigma(self, t: Tensor | float) -> Tensor:
        """Standard deviation of the noise at time t: sqrt(1 - alpha(t)^2)."""
        return (-torch.expm1(2 * self.log_alpha(t))).sqrt()

    def half_log_snr(self, t: Tensor | float) -> Tensor:
        """lambda(t) = log(alpha(t) / sigma(t)), strictly decreasing in t."""
        return self.log_alpha(t) - self.sigma(t).log()

    def add_noise(self, x0: Tensor, eps: Tensor, t: Tensor) -> Tensor:
        """x_t of images `x0` and noise `eps`, both [B, ...], at times `t` [B]."""
        shape = (-1, *(1,) * (x0.ndim - 1))
        alpha, sigma = self.alpha(t).view(shape), self.sigma(t).view(shape)
        return alpha.to(x0.dtype) * x0 + sigma.to(x0.dtype) * eps
