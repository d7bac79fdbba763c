"""Clean data as a denoiser sees it while it is trained: noised, at times over the whole range."""

from __future__ import annotations

import torch
from torch import Tensor

from snnconvert.common.checks import checked_integer
from snnconvert.diffusion.objectives import noised_batch
from snnconvert.diffusion.schedule import NoiseLevels, as_schedule
from snnconvert.errors import InputError

VALUES = 1 << 16  # that the inputs hold together where the data are few and small
INPUTS = 8192  # the most that small data are noised to


def noised(
    data: Tensor,
    schedule: NoiseLevels | Tensor | None = None,
    *,
    inputs: int | None = None,
    batch_size: int = 64,
    seed: int = 0,
) -> list[tuple[Tensor, Tensor]]:
    """Batches (x_t, t) for `convert(..., calibration=...)` of clean `data` [N, ...].

    t lies evenly over the whole range, its ends included, and is shuffled. Random times would miss
    the ends, where a network's activations often are largest.

    Args:
        data: floating point; images as the network was trained on them, in [-1, 1] mostly.
        schedule: as in `sample`; default DDPM's.
        inputs: how many; default as many as there are data, but of small data (vectors) up to
            8,192, each noised several times: thresholds want many values, not many inputs.
        batch_size: inputs of a batch.
        seed: 0 ... 2^31 - 1.

    Raises:
        InputError: other data, or numbers out of range.
    """
    schedule = as_schedule(schedule)
    if not isinstance(data, Tensor) or not data.is_floating_point() or data.ndim < 2:
        found = f"{data.dtype} {list(data.shape)}" if isinstance(data, Tensor) else type(data)
        raise InputError(f"data: found {found}; clean data [N, ...] in floating point is needed")
    if not len(data) or not bool(data.isfinite().all()):
        raise InputError("data: is empty, or holds values that are not finite")
    if inputs is None:
        inputs = max(len(data), min(INPUTS, VALUES // max(1, data[0].numel())))
    count = checked_integer("inputs", inputs, 1)
    size = checked_integer("batch_size", batch_size, 1)
    generator = torch.Generator().manual_seed(checked_integer("seed", seed, 0))
    rounds = -(-count // len(data))
    orders = [torch.randperm(len(data), generator=generator) for _ in range(rounds)]
    clean = data[torch.cat(orders)[:count].to(data.device)]
    x, t, _ = noised_batch(clean, schedule, generator, spread=True)
    order = torch.randperm(count, generator=generator)
    parts = (x[order.to(x.device)].split(size), t[order].to(x.device).split(size))
    return list(zip(*parts, strict=True))
