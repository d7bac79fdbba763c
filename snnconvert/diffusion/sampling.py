"""Draw images from a network with any registered solver."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import torch
from torch import Tensor
from tqdm import tqdm

from snnconvert.diffusion.denoiser import Denoiser
from snnconvert.diffusion.noise import SampleNoise
from snnconvert.diffusion.schedule import CLEAN, Schedule
from snnconvert.diffusion.solvers import SOLVERS
from snnconvert.errors import InputError
from snnconvert.randomness import stream_seed


def uniform_grid(schedule: Schedule, solver_steps: int) -> list[float]:
    """Times from the noisiest to clean data in `solver_steps` even intervals.

    50 steps of 1000: 999, 979, ..., 19, -1. Raises InputError for more steps than the schedule has.
    """
    if not 1 <= solver_steps <= len(schedule):
        raise InputError(f"steps: found {solver_steps}, allowed are 1 ... {len(schedule)}")
    grid = torch.linspace(len(schedule) - 1, CLEAN, solver_steps + 1, dtype=torch.float64)
    return grid.round().tolist()


def sample(
    denoiser: Callable[[Tensor, Tensor], Tensor],
    shape: Sequence[int],
    *,
    solver: str = "ddim",
    steps: int = 50,
    count: int = 1,
    seed: int = 0,
    batch_size: int = 64,
    schedule: Schedule | None = None,
    progress: bool = False,
    **options: object,
) -> Tensor:
    """Images x_0, float32 [count, *shape], in about [-1, 1].

    Args:
        denoiser: `(x [B, *shape], t [B]) -> eps`; any network of any stage.
        shape: (C, H, W) of one image.
        solver: name of a registered solver; `options` are its own keywords.
        steps: solver steps, 1 ... diffusion steps.
        seed: image i depends on `seed` and i alone, never on `batch_size` or `count`.
        schedule: default is DDPM's linear one.

    Raises:
        InputError: unknown solver or option, `steps`, `count` or `batch_size` out of range.
    """
    schedule = schedule or Schedule.linear()
    solve = SOLVERS[solver]
    times = uniform_grid(schedule, steps)
    if count < 1 or batch_size < 1:
        raise InputError(f"count and batch size: found {count} and {batch_size}, allowed from 1 up")
    unknown = set(options) - set(solve.__kwdefaults__ or {})
    if unknown:
        allowed = ", ".join(sorted(solve.__kwdefaults__ or {}))
        raise InputError(f"solver {solver!r} has no option {min(unknown)!r}: it takes {allowed}")
    images = []
    batches = range(0, count, batch_size)
    bar = tqdm(total=len(batches) * (len(times) - 1), unit="call", disable=not progress)
    with bar, torch.no_grad():
        for first in batches:
            noise = SampleNoise(
                [stream_seed(seed, i) for i in range(first, min(first + batch_size, count))]
            )
            network = Denoiser(denoiser)
            network.on_call = bar.update
            x = noise.normal(shape)
            images.append(solve(network, x, schedule, times, noise=noise, **options))
    return torch.cat(images)
