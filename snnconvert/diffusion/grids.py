"""Grids: the times that a path visits, noisiest first, -1 for clean data.

A grid is a function `(schedule, steps, end, eps_second_moment) -> steps + 1 times`. `end` is where
the solver wants the path to end: -1, or 0 as in DPM-Solver; grids of whole times always reach -1.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence

import torch
from torch import Tensor

from snnconvert.common.checks import checked_integer
from snnconvert.common.registry import Registry
from snnconvert.diffusion.analytic import check_moment, optimal_times
from snnconvert.diffusion.schedule import CLEAN, NoiseLevels
from snnconvert.errors import InputError

Grid = Callable[[NoiseLevels, int, int, Tensor | None], Sequence[float]]
GRIDS: Registry[Grid] = Registry("grid")
NOISIEST = -5.1  # lambda below which eps predictions are useless (cosine schedules go to -10)


def make_grid(
    grid: str | Tensor | Sequence[float] | None, schedule: NoiseLevels, steps: int, *,
    default: str = "uniform", end: int = CLEAN, eps_second_moment: Tensor | None = None,
) -> list[float]:  # fmt: skip
    """The times of a named grid of `steps` intervals, or a given one after checks.

    Raises:
        InputError: unknown name, `steps` not in 1 ... diffusion steps, or times that do not
            decrease inside [0, diffusion_steps - 1] (-1 may be the last).
    """
    if grid is not None and not isinstance(grid, str):
        return checked(grid, schedule)
    name = default if grid is None else grid
    make = GRIDS[name]
    steps = checked_integer(
        "steps", steps, 1, len(schedule), note=", the number of diffusion steps"
    )
    times = make(schedule, steps, end, eps_second_moment)
    return checked(times, schedule, f"{name!r} of {steps} steps")


def checked(
    grid: Tensor | Sequence[float], schedule: NoiseLevels, name: str = "of times"
) -> list[float]:
    """The times as floats, or InputError that names the first wrong one."""
    try:
        values = torch.as_tensor(grid, dtype=torch.float64).cpu()
    except (TypeError, ValueError, RuntimeError) as error:
        raise InputError(f"grid: found {grid!r}; allowed are a name or a list of times") from error
    if values.ndim != 1 or len(values) < 2:
        raise InputError(
            f"grid: found shape {tuple(values.shape)}; needed are two times or more, in a row"
        )
    times = values.tolist()
    last = len(schedule) - 1
    for position, t in enumerate(times):
        clean = t == CLEAN and position == len(times) - 1
        if not (clean or 0 <= t <= last):
            raise InputError(
                f"grid {name}: found {t:g} at position {position}, allowed are 0 ... {last}, and "
                f"{CLEAN} (clean data) at the end"
            )
        if position and not t < times[position - 1]:
            raise InputError(
                f"grid {name}: must decrease, but {times[position - 1]:g} is followed by {t:g} at "
                f"position {position}; list the noisiest time first, and no time twice"
            )
    return times


def line(first: float, last: float, count: int) -> Tensor:
    """`count` even numbers from first to last; the first alone for one."""
    return torch.linspace(first, last, count, dtype=torch.float64)


@GRIDS.register("uniform")
def uniform(schedule: NoiseLevels, steps: int, end: int, _: Tensor | None) -> list[float]:
    """Even whole times of the whole path to clean data: 50 of 1000 are 999, 979, ..., 19, -1."""
    return line(len(schedule) - 1, CLEAN, steps + 1).round().tolist()


@GRIDS.register("trailing")
def trailing(schedule: NoiseLevels, steps: int, end: int, _: Tensor | None) -> list[float]:
    """As diffusers rounds it: round(N, N - N/steps, ...) - 1, then -1."""
    count = len(schedule)
    return [*(float(round(count - i * count / steps) - 1) for i in range(steps)), CLEAN]


@GRIDS.register("leading")
def leading(schedule: NoiseLevels, steps: int, end: int, _: Tensor | None) -> list[float]:
    """DDIM's own even grid, which starts below the noisiest time: 980, 960, ..., 0, -1."""
    stride = len(schedule) // steps
    return [float(i * stride) for i in reversed(range(steps))] + [CLEAN]


@GRIDS.register("linspace")
def linspace(schedule: NoiseLevels, steps: int, end: int, _: Tensor | None) -> list[float]:
    """Even whole times from the noisiest to t = 0, then clean data (Analytic-DPM's "linear")."""
    return [*line(len(schedule) - 1, 0, steps).round().tolist(), CLEAN]


@GRIDS.register("quadratic")
def quadratic(schedule: NoiseLevels, steps: int, end: int, _: Tensor | None) -> list[float]:
    """DDIM's "quad", denser at the end: squares of even numbers up to 0.8 N (10: 800, ..., 0, -1).

    Where two squares round to one time, the later ones move up.
    """
    top = min(0.8 * len(schedule), len(schedule) - 1)
    times: list[float] = []
    for root in line(math.sqrt(top), 0, steps).tolist()[::-1]:
        time = float(int(root**2 + 1e-9))
        times.append(max(time, times[-1] + 1) if times else time)
    return [*times[::-1], CLEAN]


def noisiest(schedule: NoiseLevels) -> float:
    """Where DPM-Solver's own grids start: the last time, but no noisier than lambda = -5.1."""
    last = len(schedule) - 1
    if float(schedule.half_log_snr(last)) >= NOISIEST:
        return float(last)
    return float(schedule.time_at(NOISIEST).clamp(0, last).floor())


def with_ends(times: Tensor, first: float) -> Tensor:
    """`times` with its ends, first and 0, freed of rounding."""
    times = times.clone()
    times[-1] = 0
    times[0] = first
    return times


def to_end(times: Callable[[int], Tensor], steps: int, end: int) -> list[float]:
    """`steps` intervals down to t = 0, the last of them to clean data where that is `end`."""
    if end == 0:
        return times(steps + 1).tolist()
    return [*times(steps).tolist(), CLEAN]


@GRIDS.register("time_uniform")
def time_uniform(schedule: NoiseLevels, steps: int, end: int, _: Tensor | None) -> list[float]:
    """Even times, fractional, from the noisiest to `end`; none between 0 and clean data."""
    first = noisiest(schedule)
    times = line(first, end, steps + 1)
    if times[-2] < 0:  # steps shorter than the schedule's
        return [*line(first, 0, steps).tolist(), CLEAN]
    return times.tolist()


@GRIDS.register("time_quadratic")
def time_quadratic(schedule: NoiseLevels, steps: int, end: int, _: Tensor | None) -> list[float]:
    """Even roots of t + 1, fractional: denser towards the end."""
    first = noisiest(schedule)

    def times(count: int) -> Tensor:
        squares = line(math.sqrt(first + 1), 1, count) ** 2 - 1
        return with_ends(squares, first)

    return to_end(times, steps, end)


@GRIDS.register("log_snr")
def log_snr(schedule: NoiseLevels, steps: int, end: int, _: Tensor | None) -> list[float]:
    """Even lambda, fractional, from the noisiest to t = 0 (then clean data, if that is `end`)."""
    first = noisiest(schedule)
    highest, lowest = (float(schedule.half_log_snr(t)) for t in (first, 0))

    def times(count: int) -> Tensor:
        return with_ends(schedule.time_at(line(highest, lowest, count)), first)

    return to_end(times, steps, end)


def log_snr_in_groups(schedule: NoiseLevels, sizes: Sequence[int]) -> list[float]:
    """As `log_snr` down to t = 0, in groups of intervals: the groups are even, and each inside.

    How the original lays the steps of a singlestep solver, each of `size` evaluations.
    """
    first = noisiest(schedule)
    highest, lowest = (float(schedule.half_log_snr(t)) for t in (first, 0))
    ends = line(highest, lowest, len(sizes) + 1).tolist()
    inner = [line(ends[i], ends[i + 1], size + 1)[:-1] for i, size in enumerate(sizes)]
    lambdas = torch.cat([*inner, line(lowest, lowest, 1)])
    return with_ends(schedule.time_at(lambdas), first).tolist()


@GRIDS.register("optimal")
def optimal(
    schedule: NoiseLevels, steps: int, end: int, eps_second_moment: Tensor | None
) -> list[float]:
    """Analytic-DPM's optimal trajectory, of whole times; needs `eps_second_moment`."""
    curve = check_moment(eps_second_moment, schedule)
    return [*optimal_times(schedule, curve, steps), CLEAN]
