"""Draw images from a network with any registered solver, and walk back."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from itertools import chain
from typing import Any

import torch
from torch import Tensor, nn
from tqdm import tqdm

from snnconvert.common.checks import checked_integer
from snnconvert.diffusion.denoiser import schedule_for
from snnconvert.diffusion.grids import make_grid
from snnconvert.diffusion.noise import SampleNoise, image_seeds
from snnconvert.diffusion.sampling.plans import Network, OnCall, allowed_batch, plan, run
from snnconvert.diffusion.schedule import CLEAN, NoiseLevels
from snnconvert.diffusion.solvers import SOLVERS
from snnconvert.errors import InputError


def sample(
    denoiser: Network,
    x: Tensor | None = None,
    solver: str = "dpm-solver++",
    steps: int = 20,
    schedule: NoiseLevels | Tensor | None = None,
    seed: int = 0,
    grid: str | Tensor | Sequence[float] | None = None,
    *,
    shape: Sequence[int] | None = None,
    return_nfe: bool = False,
    batch_size: int | None = None,
    progress: bool = False,
    on_call: OnCall | None = None,
    **options: Any,
) -> Any:
    """x_0 [B, ...], in the precision and on the device of `x`; with `return_nfe`, (x_0, nfe).

    Args:
        denoiser: `(x [B, ...], t [B]) -> prediction`; any network of any stage. t is float, 0 ...
            diffusion_steps - 1 (or as `t_range` says), or has another form that it takes.
        x: the start at the noisiest time, or
        shape: [B, ...] to draw it, in float32, sample i from `seed` and i alone.
        solver: name of a registered solver.
        steps: network evaluations, and intervals of a named grid: 1 ... diffusion steps.
        schedule: a Schedule, a ContinuousSchedule or a 1-D tensor of betas; default the network's
            own, where it knows one (`load` and `convert` see to that), or DDPM's.
        seed: 0 ... 2^31 - 1; what solvers draw for sample i depends on it and i alone.
        grid: a name (default: the solver's own), or a list of times in place of `steps`.
        return_nfe: also return the network evaluations of one batch, as counted.
        batch_size: samples per network call; by default all, or as many as a converted network
            takes. It never changes a sample.
        on_call: called after each evaluation with (x, t, predicted x_0).
        options: `denoise_to_zero` (where a path ends at t = 0, one more evaluation); `prediction`,
            `clip`, `thresholding`, `correction`, `t_range` as in Denoiser; `arguments`, {"y": ...},
            of tensors [N, ...] sample i has row i % N; and the solver's own keywords.

    Raises:
        InputError: before any evaluation, for unknown names and values outside their range.
    """
    chosen = plan(solver, steps, schedule_for(denoiser, schedule), grid, **options)
    count, image_shape = check_start(x, shape)
    batch_size = count if batch_size is None else checked_integer("batch_size", batch_size, 1)
    batch_size = allowed_batch(denoiser, batch_size)
    seeds = image_seeds(seed, range(count))
    device = x.device if x is not None else device_of(denoiser)
    results, nfe, firsts = [], 0, range(0, count, batch_size)
    total = chosen.calls and chosen.calls * len(firsts)
    with tqdm(total=total, unit="NFE", disable=not progress) as bar:
        report = both(lambda *_: bar.update(), on_call) if progress else on_call
        for first in firsts:
            noise = SampleNoise(seeds[first : first + batch_size])
            drawn = noise.normal(image_shape).to(device)  # if `x` is given, too: equal draws later
            noisiest = drawn if x is None else x[first : first + batch_size]
            own = range(first, first + len(noise))
            result, calls = run(chosen, denoiser, noisiest, noise, report, own)
            results.append(result)
            nfe = max(nfe, calls)
    joined = torch.cat(results)
    return (joined, nfe) if return_nfe else joined


def both(first: OnCall, second: OnCall | None) -> OnCall:
    """A function that calls `first`, then `second` if there is one."""
    if second is None:
        return first

    def call(x: Tensor, t: float | Tensor, x0: Tensor) -> None:
        first(x, t, x0)
        second(x, t, x0)

    return call


def invert(
    denoiser: Network,
    x: Tensor,
    solver: str = "dpm-solver++",
    steps: int = 20,
    schedule: NoiseLevels | Tensor | None = None,
    grid: str | Tensor | Sequence[float] | None = None,
    **options: Any,
) -> Tensor:
    """From data to the noise that a deterministic solver turns into it: `sample` walked back.

    The data is taken as x at the last time of the grid before clean data (t = 0 on DPM-Solver's
    own grids). Arguments as `sample`; a grid is listed noisiest first here too.

    Raises:
        InputError: as `sample`, or a solver that draws noise.
    """
    if not SOLVERS[solver].reversible or options.get("eta", 0) != 0:
        able = ", ".join(sorted(name for name, s in SOLVERS.items() if s.reversible))
        raise InputError(f"invert: {solver!r} draws noise on its way; use one of {able}, eta 0")
    chosen = plan(solver, steps, schedule_for(denoiser, schedule), grid, **options)
    count, _ = check_start(x, None)
    times = chosen.times
    if times[-1] == CLEAN:  # which has no way back; some grids can end at t = 0
        times = make_grid(grid, chosen.schedule, steps, default=SOLVERS[solver].grid, end=0,
                          eps_second_moment=options.get("eps_second_moment"))  # fmt: skip
    back = [time for time in reversed(times) if time != CLEAN]
    if len(back) < 2:
        raise InputError("grid: inversion needs two times besides clean data; raise steps")
    result, _ = run(replace(chosen, times=back, zero=False), denoiser, x, SampleNoise(range(count)))
    return result


def check_start(x: Tensor | None, shape: Sequence[int] | None) -> tuple[int, list[int]]:
    """(number of samples, shape of one) of a start that is given or to be drawn."""
    if (x is None) == (shape is None):
        raise InputError("x, shape: give one of them, the start itself or [B, ...] to draw it")
    if x is not None:
        if not isinstance(x, Tensor) or not x.is_floating_point() or x.ndim < 2 or len(x) < 1:
            found = f"{x.dtype} {tuple(x.shape)}" if isinstance(x, Tensor) else type(x).__name__
            raise InputError(f"x: found {found}; a float tensor [B, ...] is needed")
        if not bool(x.isfinite().all()):
            raise InputError("x: holds values that are not finite")
        return len(x), list(x.shape[1:])
    sizes = [checked_integer("shape", size, 1) for size in shape or ()]
    if len(sizes) < 2:
        raise InputError(f"shape: found {tuple(sizes)}; needed are positive sizes [B, ...]")
    return sizes[0], sizes[1:]


def device_of(network: object) -> torch.device:
    """Where a network's weights are; other callables say it as `device`, else it is the CPU."""
    if isinstance(network, nn.Module):
        tensors = chain(network.parameters(), network.buffers())
        return next((tensor.device for tensor in tensors), torch.device("cpu"))
    said = getattr(network, "device", None)
    return said if isinstance(said, torch.device) else torch.device("cpu")
