"""A checked choice of solver, grid and options, and one run of it."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor

from snnconvert.common.checks import checked_switch
from snnconvert.common.inputs import inputs_of
from snnconvert.common.registry import nearest
from snnconvert.diffusion.denoiser import Denoiser
from snnconvert.diffusion.grids import log_snr_in_groups, make_grid
from snnconvert.diffusion.noise import SampleNoise
from snnconvert.diffusion.schedule import CLEAN, NoiseLevels, as_schedule
from snnconvert.diffusion.solvers import SOLVERS
from snnconvert.diffusion.times import rows_of
from snnconvert.errors import InputError

Network = Callable[[Tensor, Tensor], Tensor]
OnCall = Callable[[Tensor, float | Tensor, Tensor], object]
OF_DENOISER = (
    "prediction",
    "clip",
    "thresholding",
    "correction",
    "t_range",
)  # options that every solver shares


@dataclass(frozen=True)
class Plan:
    """A checked choice of solver, grid and options: a whole sampling but for network and start."""

    solver: str
    schedule: NoiseLevels
    times: list[float]
    options: dict[str, object]  # of the solver
    zero: bool = False  # one evaluation more behind the solver's last time: clean data
    corrections: dict[str, object] = field(default_factory=dict)  # of the denoiser
    arguments: dict[str, Any] = field(default_factory=dict)  # further ones of every call

    def denoiser(self, network: Network, numbers: Sequence[int]) -> Denoiser:
        """The network as the solver will see it, for the samples of these numbers."""
        given: dict[str, Any] = self.corrections
        return Denoiser(network, self.schedule, arguments=rows_of(self.arguments, numbers), **given)

    @property
    def given(self) -> dict[str, object]:
        """Options of solver and denoiser that were not left at their defaults."""
        last: dict[str, object] = {"denoise_to_zero": True} if self.zero else {}
        return {**self.options, **self.corrections, **last}

    @property
    def all_options(self) -> dict[str, object]:
        """Options of solver and denoiser, those left at their defaults too."""
        defaults = SOLVERS[self.solver].options
        arguments = {"arguments": self.arguments} if self.arguments else {}
        return {"prediction": "eps", **defaults, **self.given, **arguments}

    @property
    def adaptive(self) -> bool:
        """True where the number of evaluations depends on the network."""
        return self.options.get("method") == "adaptive"

    @property
    def calls(self) -> int | None:
        """Evaluations for one batch; None where they depend on the network."""
        return None if self.adaptive else len(self.times) - 1 + self.zero


def plan(
    solver: str = "dpm-solver++",
    steps: int = 20,
    schedule: NoiseLevels | Tensor | None = None,
    grid: str | Tensor | Sequence[float] | None = None,
    *,
    denoise_to_zero: bool = False,
    arguments: Mapping[str, Any] | None = None,
    **options: Any,
) -> Plan:
    """Check everything that can be checked without the network. Arguments as `sample`.

    Raises:
        InputError: unknown solver, grid or option, or a value outside its range.
    """
    entry = SOLVERS[solver]
    schedule = as_schedule(schedule)
    allowed = {*entry.options, *OF_DENOISER, "denoise_to_zero"}
    for name in options:
        if name not in allowed and not (name == "eps_second_moment" and grid == "optimal"):
            raise InputError(
                f"solver {solver!r} has no option {name!r}: {nearest(name, allowed)}"
                f"it takes {', '.join(sorted(allowed))}"
            )
    own = {name: value for name, value in options.items() if name in entry.options}
    corrections = {name: value for name, value in options.items() if name in OF_DENOISER}
    multistep = own.get("method", "multistep") == "multistep"
    end = entry.end if multistep else 0  # other steps end on a finite lambda
    times = make_grid(grid, schedule, steps, default=entry.grid, end=end,
                      eps_second_moment=options.get("eps_second_moment"))  # fmt: skip
    rehearse(Plan(solver, schedule, times, own, corrections=corrections))
    if entry.groups and isinstance(grid, str) and grid == "log_snr":
        sizes = entry.groups(steps, own)
        times = log_snr_in_groups(schedule, sizes) if sizes else times
    zero = checked_switch("denoise_to_zero", denoise_to_zero) and times[-1] != CLEAN
    return Plan(solver, schedule, times, own, zero, corrections, rows_of(arguments))


def rehearse(plan: Plan) -> None:
    """Have the solver check its options, on one number and a network that costs nothing."""
    plain = {name: value for name, value in plan.corrections.items() if name != "correction"}
    ends = Plan(plan.solver, plan.schedule, plan.times[:1] + plan.times[-1:], plan.options,
                corrections=plain)  # fmt: skip
    zero = torch.zeros(1, 1)
    with torch.no_grad():
        run(ends, lambda x, t: torch.zeros_like(x), zero, SampleNoise([0]))


def run(
    plan: Plan, network: Network, x: Tensor, noise: SampleNoise, on_call: OnCall | None = None,
    numbers: Sequence[int] | None = None,
) -> tuple[Tensor, int]:  # fmt: skip
    """Follow a plan from `x` [B, ...] at its first time: the result and the network's calls.

    numbers: of these samples, by which each has its row of `plan.arguments`; default 0, 1, ...
    """
    start_over(network)
    denoiser = plan.denoiser(network, range(len(x)) if numbers is None else numbers)
    denoiser.on_call = on_call
    with torch.no_grad():
        result = SOLVERS[plan.solver].solve(
            denoiser, x, plan.schedule, plan.times, noise=noise, **plan.options
        )
        if plan.zero:
            result = denoiser.clean(result, plan.schedule.points(plan.times[-1:])[0])
    return result, denoiser.nfe


def start_over(network: object) -> None:
    """Reset a network that carries state from call to call; other denoisers have no `reset`."""
    reset = getattr(network, "reset", None)
    if callable(reset):
        reset()


def allowed_batch(network: object, batch_size: int) -> int:
    """`batch_size`, or what a converted network takes, where its own code limits or fixes it."""
    takes = inputs_of(network)
    return takes.fixed_batch or min(batch_size, takes.largest_batch or batch_size)
