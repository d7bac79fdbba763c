"""E ||eps(x_t, t)||^2 / d of a network over data: what Analytic-DPM needs to know of it."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import Any

import torch
from torch import Tensor

from snnconvert.common.checks import checked_integer
from snnconvert.common.randomness import stream_seed
from snnconvert.diffusion.denoiser import Denoiser, schedule_for
from snnconvert.diffusion.linear import plus
from snnconvert.diffusion.noise import SampleNoise
from snnconvert.diffusion.schedule import NoiseLevels
from snnconvert.diffusion.times import Range, rows_of
from snnconvert.errors import InputError


def moment_times(schedule: NoiseLevels, count: int) -> list[float]:
    """`count` whole times from 0 to the last, denser near 0, where the curve is steep."""
    last = len(schedule) - 1
    count = checked_integer("times", count, 2)
    even = torch.linspace(0, 1, min(count, last + 1), dtype=torch.float64)
    if count > last:
        return torch.arange(last + 1).double().tolist()
    times = (last * even**2).round().tolist()
    for i in range(1, count):
        times[i] = min(max(times[i], times[i - 1] + 1), last - (count - 1 - i))
    return times


@torch.no_grad()
def eps_second_moment(
    network: Callable[[Tensor, Tensor], Tensor],
    batches: Iterable[Tensor],
    schedule: NoiseLevels | Tensor | None = None,
    *,
    prediction: str | None = None,
    clip: bool | tuple[float, float] = False,
    times: int = 100,
    t_range: Range | None = None,
    arguments: Mapping[str, Any] | None = None,
    seed: int = 0,
    on_call: Callable[[], object] | None = None,
) -> Tensor:
    """The curve at every diffusion step, float64 [diffusion_steps], of this very network.

    `sample(..., solver="analytic-ddim", eps_second_moment=curve)` follows it (Bao et al. 2022).

    Args:
        network: any callable (x [B, ...], t [B]) -> prediction, as in `sample`.
        batches: clean data [B, ...] in turn, images in [-1, 1]; only one is in memory at a time.
            Every image is noised anew for every time.
        schedule, prediction: as in `sample`; default the network's own, or DDPM's and "eps".
        clip: as in `sample`, which it should equal.
        t_range, arguments: as in `sample`; of a tensor [N, ...] among the arguments image i has row
            i % N.
        times: how many diffusion steps are measured; the curve between them is linear.
        seed: of the noise, 0 ... 2^31 - 1; that of image i depends on it and i alone.
        on_call: called after each evaluation.

    Raises:
        InputError: no data, or predictions that are not finite.
    """
    schedule = schedule_for(network, schedule)
    denoiser = Denoiser(network, schedule, prediction=prediction, clip=clip, t_range=t_range)
    points = schedule.points(moment_times(schedule, times))
    sums, values, images = torch.zeros(len(points), dtype=torch.float64), 0, 0
    for clean in batches:
        numbers = range(images, images + len(clean))
        noise = SampleNoise([stream_seed(seed, number, "moments") for number in numbers])
        denoiser.call.arguments = rows_of(arguments, numbers)
        values, images = values + clean.numel(), images + len(clean)
        for i, point in enumerate(points):
            x = plus(point.alpha * clean, point.sigma, noise.normal_like(clean))
            eps = denoiser.noise(x, point)
            sums[i] += float(eps.double().square().sum())
            if not bool(sums[i].isfinite()):
                raise InputError("moments: the network returned values that are not finite")
            if on_call is not None:
                on_call()
    if values == 0:
        raise InputError("moments: no data; at least one image is needed")
    return between(torch.tensor([point.t for point in points]), sums / values, len(schedule))


def between(times: Tensor, values: Tensor, count: int) -> Tensor:
    """`values` [N, ...] at whole `times` (first 0, last count - 1), linear at 0 ... count - 1."""
    if len(times) == 1:
        return values.expand(count, *values.shape[1:]).clone()
    every = torch.arange(count, dtype=torch.float64)
    times = times.double()
    right = torch.searchsorted(times, every).clamp(1, len(times) - 1)
    share = (every - times[right - 1]) / (times[right] - times[right - 1])
    share = share.view(-1, *(1,) * (values.ndim - 1))
    return torch.lerp(values[right - 1], values[right], share)
