"""Clean data as a denoiser sees it while it is trained: noised, at times over the whole range."""

from __future__ import annotations

import torch
from torch import Tensor

from snnconvert.common.checks import checked_integer
from snnconvert.diffusion.objectives import noised_batch
from snnconvert.diffusion.schedule import NoiseLevels, as_schedule
from snnconvert.diffusion.times import Range, checked_t_range, in_range
from snnconvert.errors import InputError

VALUES = 1 << 16  # that the inputs hold together where the data are few and small
INPUTS = 8192  # the most that small data are noised to


def noised(
    data: Tensor | tuple[Tensor, ...],
    schedule: NoiseLevels | Tensor | None = None,
    *,
    inputs: int | None = None,
    batch_size: int = 64,
    t_range: Range | None = None,
    seed: int = 0,
) -> list[tuple[Tensor, ...]]:
    """Batches (x_t, t) for `convert(..., calibration=...)` of clean `data` [N, ...].

    t lies evenly over the whole range, its ends included, and is shuffled. Random times would miss
    the ends, where a network's activations often are largest.

    Args:
        data: floating point; images as the network was trained on them, in [-1, 1] mostly. Of a
            tuple the first is that; the others [N, ...], such as labels, belong to it row by row,
            and follow x_t and t in each batch.
        schedule: as in `sample`; default DDPM's.
        inputs: how many; default as many as there are data, but of small data (vectors) up to
            8,192, each noised several times: thresholds want many values, not many inputs.
        batch_size: inputs of a batch.
        t_range: the network's times at the cleanest and at the noisiest diffusion step, such as
            (0, 0.999) where it takes t / 1000; default their numbers.
        seed: 0 ... 2^31 - 1.

    Raises:
        InputError: other data, or numbers out of range.
    """
    schedule = as_schedule(schedule)
    t_range = None if t_range is None else checked_t_range(t_range)
    data, *others = data if isinstance(data, tuple) and data else (data,)
    if not isinstance(data, Tensor) or not data.is_floating_point() or data.ndim < 2:
        found = f"{data.dtype} {list(data.shape)}" if isinstance(data, Tensor) else type(data)
        raise InputError(f"data: found {found}; clean data [N, ...] in floating point is needed")
    if any(not isinstance(o, Tensor) or o.shape[:1] != data.shape[:1] for o in others):
        raise InputError(f"data: what belongs to it needs {len(data)} rows each, as it has itself")
    if not len(data) or not bool(data.isfinite().all()):
        raise InputError("data: is empty, or holds values that are not finite")
    if inputs is None:
        inputs = max(len(data), min(INPUTS, VALUES // max(1, data[0].numel())))
    count = checked_integer("inputs", inputs, 1)
    size = checked_integer("batch_size", batch_size, 1)
    generator = torch.Generator().manual_seed(checked_integer("seed", seed, 0))
    rounds = -(-count // len(data))
    orders = [torch.randperm(len(data), generator=generator) for _ in range(rounds)]
    rows = torch.cat(orders)[:count]
    clean = data[rows.to(data.device)]
    x, t, _ = noised_batch(clean, schedule, generator, spread=True)
    order = torch.randperm(count, generator=generator)
    t = in_range(t, len(schedule), t_range)
    whole = [x[order.to(x.device)], t[order].to(x.device)]
    whole += [other[rows[order].to(other.device)] for other in others]
    return list(zip(*(value.split(size) for value in whole), strict=True))
