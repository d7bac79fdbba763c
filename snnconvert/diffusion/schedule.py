"""Variance-preserving noise schedules: x_t = alpha(t) * x_0 + sigma(t) * eps.

Time is counted alike everywhere: t = 0 (almost clean) ... diffusion_steps - 1 (noise), fractions
allowed, -1 for clean data (alpha 1, sigma 0).
Ho et al. 2020 for the betas; Lu et al. 2022 (DPM-Solver) for the interpolation between whole t.
"""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any, NamedTuple

import torch
from torch import Tensor

from snnconvert.common.checks import checked_integer, set_integers
from snnconvert.common.registry import nearest
from snnconvert.errors import InputError

CLEAN = -1  # the time that stands for clean data in a grid


class Point(NamedTuple):
    """The noise at one time of a path: floats, or float tensors [B, 1, ...] with one per sample.

    The fields are `Any` because the same formulas serve both.
    """

    t: Any
    alpha: Any  # share of the clean image
    sigma: Any  # standard deviation of the noise
    half_log_snr: Any  # lambda = log(alpha / sigma); infinite at clean data


class NoiseLevels(ABC):
    """What every schedule can say; subclasses give log alpha, its inverse and their length."""

    @abstractmethod
    def __len__(self) -> int:
        """diffusion_steps: the noisiest time is one less."""

    @abstractmethod
    def _log_alpha(self, t: Tensor) -> Tensor:
        """log alpha of float64 times inside [-1, len(self) - 1]."""

    @abstractmethod
    def _time_at_log_alpha(self, log_alpha: Tensor) -> Tensor:
        """The inverse of `_log_alpha`."""

    def log_alpha(self, t: Tensor | float) -> Tensor:
        """log alpha(t), float64, any shape; exactly 0 at t = -1."""
        t = torch.as_tensor(t, dtype=torch.float64)
        if not bool(((t >= CLEAN) & (t <= len(self) - 1)).all()):
            raise InputError(
                f"t: found {t.min():g} ... {t.max():g}, allowed are 0 ... {len(self) - 1}, "
                f"or {CLEAN} for clean data"
            )
        return self._log_alpha(t)

    def alpha(self, t: Tensor | float) -> Tensor:
        """Share of the clean image at time t."""
        return self.log_alpha(t).exp()

    def sigma(self, t: Tensor | float) -> Tensor:
        """Standard deviation of the noise at time t: sqrt(1 - alpha(t)^2)."""
        return sigma_at(self.log_alpha(t))

    def half_log_snr(self, t: Tensor | float) -> Tensor:
        """lambda(t) = log(alpha(t) / sigma(t)), strictly decreasing in t."""
        log_alpha = self.log_alpha(t)
        return log_alpha - sigma_at(log_alpha).log()

    def time_at(self, half_log_snr: Tensor | float) -> Tensor:
        """The time with this lambda, float64; the inverse of `half_log_snr`."""
        half_log_snr = torch.as_tensor(half_log_snr, dtype=torch.float64)
        log_alpha = -0.5 * torch.logaddexp(torch.zeros_like(half_log_snr), -2 * half_log_snr)
        return self._time_at_log_alpha(log_alpha)

    def points(self, times: Sequence[float]) -> list[Point]:
        """The noise at every time of a grid, as Python numbers, computed at once in float64."""
        t = torch.tensor([float(time) for time in times], dtype=torch.float64)
        columns = self._columns(t)
        return [Point(*row) for row in zip(*(c.tolist() for c in columns), strict=True)]

    def per_sample(self, t: Tensor, x: Tensor) -> Point:
        """The noise at times `t` [B] as factors for `x` [B, ...], in x's precision."""
        shape = (-1, *(1,) * (x.ndim - 1))
        return Point(*(column.view(shape).to(x) for column in self._columns(t)))

    def _columns(self, t: Tensor) -> Point:
        """The fields of `Point` for times of any shape."""
        log_alpha = self.log_alpha(t)
        sigma = sigma_at(log_alpha)
        return Point(t, log_alpha.exp(), sigma, log_alpha - sigma.log())

    def add_noise(self, x0: Tensor, eps: Tensor, t: Tensor) -> Tensor:
        """x_t of images `x0` and noise `eps`, both [B, ...], at times `t` [B]."""
        shape = (-1, *(1,) * (x0.ndim - 1))
        alpha, sigma = self.alpha(t).view(shape), self.sigma(t).view(shape)
        return alpha.to(x0) * x0 + sigma.to(x0) * eps


def sigma_at(log_alpha: Tensor) -> Tensor:
    """Standard deviation of the noise where log alpha is given: sqrt(1 - alpha^2)."""
    return (-torch.expm1(2 * log_alpha)).sqrt()


@dataclass(frozen=True)
class Schedule(NoiseLevels):
    """A discrete schedule; between whole t, log alpha is interpolated linearly.

    Args:
        alphas_cumprod: float64 [diffusion_steps], strictly decreasing inside (0, 1).
    """

    alphas_cumprod: Tensor

    def __post_init__(self) -> None:
        a = self.alphas_cumprod
        if a.ndim != 1 or len(a) < 1 or a.dtype != torch.float64:
            raise InputError("alphas_cumprod: a one-dimensional float64 tensor is needed")
        if not (bool((a > 0).all()) and bool((a < 1).all()) and bool((a.diff() < 0).all())):
            raise InputError("alphas_cumprod: must decrease strictly inside (0, 1)")

    @classmethod
    def from_betas(cls, betas: Tensor | Sequence[float]) -> Schedule:
        """Schedule of the per-step noise variances `betas` [diffusion_steps], each in (0, 1)."""
        betas = torch.as_tensor(betas, dtype=torch.float64).cpu()
        if betas.ndim != 1 or len(betas) < 1:
            raise InputError(f"betas: found shape {tuple(betas.shape)}, one dimension is needed")
        if not bool(((betas > 0) & (betas < 1)).all()):
            raise InputError(
                f"betas: found {betas.min():g} ... {betas.max():g}, allowed are numbers inside "
                "(0, 1); a schedule that ends in pure noise (beta 1) has no eps prediction"
            )
        return cls(torch.cumprod(1 - betas, 0))

    @classmethod
    def linear(
        cls, diffusion_steps: int = 1000, beta_first: float = 1e-4, beta_last: float = 0.02
    ) -> Schedule:
        """DDPM's schedule: betas evenly spaced from `beta_first` to `beta_last`."""
        diffusion_steps = checked_integer("diffusion_steps", diffusion_steps, 1)
        return cls.from_betas(
            torch.linspace(beta_first, beta_last, diffusion_steps, dtype=torch.float64)
        )

    @classmethod
    def cosine(cls, diffusion_steps: int = 1000, offset: float = 0.008) -> Schedule:
        """Nichol and Dhariwal 2021, equation 17: abar = cos^2, betas at most 0.999."""
        diffusion_steps = checked_integer("diffusion_steps", diffusion_steps, 1)
        u = torch.linspace(0, 1, diffusion_steps + 1, dtype=torch.float64)
        abar = torch.cos((u + offset) / (1 + offset) * math.pi / 2) ** 2
        return cls.from_betas((1 - abar[1:] / abar[:-1]).clamp_max(0.999))

    def __len__(self) -> int:
        return len(self.alphas_cumprod)

    def is_like(self, other: Schedule) -> bool:
        """Whether both are one schedule, but for rounding."""
        mine, others = self.alphas_cumprod, other.alphas_cumprod
        return len(mine) == len(others) and torch.allclose(mine, others, rtol=1e-3, atol=1e-7)

    @cached_property
    def knots(self) -> Tensor:
        """log alpha at t = -1, 0, ..., diffusion_steps - 1."""
        half_logs = 0.5 * self.alphas_cumprod.log()
        return torch.cat([half_logs.new_zeros(1), half_logs])

    def _log_alpha(self, t: Tensor) -> Tensor:
        left = (t - CLEAN).floor().long().clamp_max(len(self) - 1)
        return torch.lerp(self.knots[left], self.knots[left + 1], t - CLEAN - left)

    def _time_at_log_alpha(self, log_alpha: Tensor) -> Tensor:
        rising = -self.knots
        right = torch.searchsorted(rising, -log_alpha).clamp(1, len(self))
        share = (-log_alpha - rising[right - 1]) / (rising[right] - rising[right - 1])
        return (right - 1 + share + CLEAN).clamp(CLEAN, len(self) - 1)


@dataclass(frozen=True)
class ContinuousSchedule(NoiseLevels):
    """The VP diffusion with a rate beta(u) that rises linearly, in closed form (Song et al. 2021).

    u = (t + 1) / diffusion_steps is its own time, 0 (clean) ... 1 (noise);
    log alpha = -(beta_last - beta_first) * u^2 / 4 - beta_first * u / 2.
    """

    beta_first: float = 0.1
    beta_last: float = 20.0
    diffusion_steps: int = 1000  # only scales t, the number that a network is given

    def __post_init__(self) -> None:
        set_integers(self, {"diffusion_steps": 1})
        if not 0 < self.beta_first < self.beta_last < math.inf:
            raise InputError(
                f"beta_first, beta_last: found {self.beta_first}, {self.beta_last}; "
                "two positive rates are needed, the first below the last"
            )

    def __len__(self) -> int:
        return self.diffusion_steps

    def _log_alpha(self, t: Tensor) -> Tensor:
        u = (t - CLEAN) / self.diffusion_steps
        return -0.25 * (self.beta_last - self.beta_first) * u**2 - 0.5 * self.beta_first * u

    def _time_at_log_alpha(self, log_alpha: Tensor) -> Tensor:
        rise = self.beta_last - self.beta_first
        root = (self.beta_first**2 - 4 * rise * log_alpha).sqrt()
        u = -4 * log_alpha / (root + self.beta_first)  # the root without cancellation
        return u * self.diffusion_steps + CLEAN


def named_schedule(text: str) -> Schedule:
    """DDPM's "linear" or "cosine" schedule, or a linear one from "FIRST,LAST,STEPS".

    Raises:
        InputError: another word, or numbers that make no schedule.
    """
    if text == "linear":
        return Schedule.linear()
    if text == "cosine":
        return Schedule.cosine()
    try:
        first, last, steps = text.split(",")
        return Schedule.linear(int(steps), float(first), float(last))
    except InputError as error:
        raise InputError(f"schedule: found {text!r}: {error}") from error
    except ValueError:
        near = nearest(text, ("linear", "cosine"))
        raise InputError(
            f"schedule: found {text!r}, {near}allowed are linear, cosine, and FIRST,LAST,STEPS "
            "(betas and their number, such as 1e-4,0.02,1000)"
        ) from None


def as_schedule(schedule: NoiseLevels | Tensor | Sequence[float] | None) -> NoiseLevels:
    """A schedule as it is, one from betas, or DDPM's linear one for None."""
    if schedule is None:
        return Schedule.linear()
    if isinstance(schedule, NoiseLevels):
        return schedule
    try:
        return Schedule.from_betas(schedule)
    except (TypeError, ValueError, RuntimeError) as error:
        if isinstance(error, InputError):
            raise
        raise InputError(
            f"schedule: found {type(schedule).__name__}; allowed are a Schedule, a "
            "ContinuousSchedule, and a one-dimensional tensor of betas"
        ) from error
