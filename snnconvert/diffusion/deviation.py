"""How a quantised or spiking network deviates from the float one, over t; see `correction`."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from snnconvert.common.randomness import stream_seed
from snnconvert.diffusion.correction import CORRECTABLE, Correction
from snnconvert.diffusion.denoiser import Denoiser, prediction_for, schedule_for
from snnconvert.diffusion.linear import plus
from snnconvert.diffusion.moments import between, moment_times
from snnconvert.diffusion.noise import SampleNoise
from snnconvert.diffusion.schedule import NoiseLevels
from snnconvert.diffusion.times import Range, rows_of
from snnconvert.errors import InputError

Network = Callable[[Tensor, Tensor], Tensor]


@torch.no_grad()
def measure_correction(
    network: Network,
    teacher: Network,
    batches: Iterable[Tensor],
    schedule: NoiseLevels | Tensor | None = None,
    *,
    prediction: str | None = None,
    clip: bool | tuple[float, float] = False,
    times: int = 50,
    t_range: Range | None = None,
    arguments: Mapping[str, Any] | None = None,
    seed: int = 0,
    on_call: Callable[[], object] | None = None,
) -> Correction:
    """How `network` deviates from the float `teacher`, over clean data noised at every time.

    Args:
        network, teacher: (x [B, C, ...], t [B]) -> prediction; of one kind of prediction.
        batches: clean data [B, C, ...] in turn; only one is in memory at a time.
        schedule, prediction, clip, times, t_range, arguments, seed, on_call: as in
            `eps_second_moment`; what a clip takes away is no deviation.

    Raises:
        InputError: no data, values that are not finite, or a network that hardly follows.
    """
    schedule = schedule_for(network, schedule)
    prediction = prediction_for(network, prediction)
    if prediction not in CORRECTABLE:
        raise InputError(
            f"correction: a network that predicts {prediction} has none; allowed are "
            f"{', '.join(CORRECTABLE)}"
        )
    both = [
        Denoiser(one, schedule, prediction=prediction, clip=clip, t_range=t_range)
        for one in (network, teacher)
    ]
    points = schedule.points(moment_times(schedule, times))
    sums: list[_Sums | None] = [None] * len(points)
    images = 0
    for clean in batches:
        numbers = range(images, images + len(clean))
        noise = SampleNoise([stream_seed(seed, number, "moments") for number in numbers])
        images += len(clean)
        for denoiser in both:
            denoiser.call.arguments = rows_of(arguments, numbers)
        for i, point in enumerate(points):
            x = plus(point.alpha * clean, point.sigma, noise.normal_like(clean))
            found = _Sums.of(*(denoiser.predicted(x, point) for denoiser in both))
            before = sums[i]
            sums[i] = found if before is None else before + found
            if on_call is not None:
                on_call()
    if not images:
        raise InputError("moments: no data; at least one image is needed")
    at = torch.tensor([point.t for point in points])
    fits = [entry.fitted() for entry in sums if entry is not None]
    slope, mean, variance = (
        between(at, torch.stack(column), len(schedule)) for column in zip(*fits, strict=True)
    )
    return Correction(prediction, slope, mean, variance)


@dataclass(frozen=True)
class _Sums:
    """Sums over all values of a channel, float64: their number, f, q [C]; f^2, q f, q^2 []."""

    count: int
    f: Tensor
    q: Tensor
    ff: Tensor
    qf: Tensor
    qq: Tensor

    @classmethod
    def of(cls, output: Tensor, wanted: Tensor) -> _Sums:
        q, f = (value.double().transpose(0, 1).flatten(1).cpu() for value in (output, wanted))
        products = (f * f).sum(), (q * f).sum(), (q * q).sum()
        return cls(f.shape[1], f.sum(1), q.sum(1), *products)

    def __add__(self, other: _Sums) -> _Sums:
        pairs = zip(vars(self).values(), vars(other).values(), strict=True)
        return _Sums(*(a + b for a, b in pairs))

    def fitted(self) -> tuple[Tensor, Tensor, Tensor]:
        """Slope [], mean [C] and variance [] of the rest, by least squares."""
        total = self.count * len(self.f)
        ff = self.ff - self.f.square().sum() / self.count
        qf = self.qf - (self.q * self.f).sum() / self.count
        qq = self.qq - self.q.square().sum() / self.count
        if not bool(torch.stack([ff, qf, qq]).isfinite().all()):
            raise InputError("moments: a network returned values that are not finite")
        slope = qf / ff.clamp_min(torch.finfo(torch.float64).tiny)
        mean = (self.q - slope * self.f) / self.count
        return slope, mean, ((qq - slope * qf) / total).clamp_min(0)
