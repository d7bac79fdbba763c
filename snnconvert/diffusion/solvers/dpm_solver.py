"""DPM-Solver (Lu et al. 2022a, noise form) and DPM-Solver++ (2022b, data form), orders 1-3."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Annotated, Any

from torch import Tensor

from snnconvert.common.checks import checked_integer, checked_switch
from snnconvert.common.registry import nearest
from snnconvert.diffusion.denoiser import Denoiser
from snnconvert.diffusion.noise import SampleNoise
from snnconvert.diffusion.schedule import NoiseLevels
from snnconvert.diffusion.solvers import solver
from snnconvert.diffusion.steps.adaptive import adaptive
from snnconvert.diffusion.steps.multistep import multistep
from snnconvert.diffusion.steps.singlestep import order_plan, singlestep
from snnconvert.errors import InputError

METHODS = ("multistep", "singlestep", "adaptive")
SOLVER_TYPES = ("dpmsolver", "taylor", "published")
ORDERS = (1, 2, 3)

Order = Annotated[int, ORDERS]
Method = Annotated[str, METHODS]
SolverType = Annotated[str, SOLVER_TYPES]
LowerOrderFinal = Annotated[bool, "end short paths with lower orders"]
AbsoluteTolerance = Annotated[float, "absolute tolerance of adaptive steps"]
RelativeTolerance = Annotated[float, "relative tolerance of adaptive steps"]


def integrator(data: bool) -> Callable[..., Tensor]:
    """The solver of predictions of the noise, or of the clean data, which may be clipped."""

    def solve(
        denoiser: Denoiser, x: Tensor, schedule: NoiseLevels, times: Sequence[float], *,
        noise: SampleNoise | None = None, order: Order = 2, method: Method = "multistep",
        solver_type: SolverType = "dpmsolver", lower_order_final: LowerOrderFinal = True,
        atol: AbsoluteTolerance = 0.0078, rtol: RelativeTolerance = 0.05,
    ) -> Tensor:  # fmt: skip
        """Integrate the ODE from times[0] to times[-1].

        Args:
            order: 1 (DDIM), 2 or 3.
            method: "multistep" (uses earlier evaluations), "singlestep" (groups of `order`
                evaluations; the "fast" plan, so that they sum to the number of intervals) or
                "adaptive" (own steps between the two ends of `times`, per sample; order 2 or 3).
            solver_type: second-order term "dpmsolver" (midpoint) or "taylor"; "published" is
                "dpmsolver" with the original's multistep order 3, which converges with order 2.
            lower_order_final: multistep of fewer than 10 intervals ends with lower orders.
            atol, rtol: error that an adaptive step may make, absolute and relative.
        """
        return integrate(
            denoiser, x, schedule, times, data=data, order=order, method=method, atol=atol,
            rtol=rtol, solver_type=solver_type, lower_order_final=lower_order_final,
        )  # fmt: skip

    return solve


def step_sizes(intervals: int, options: Mapping[str, Any]) -> list[int] | None:
    """Evaluations of each step, where steps take several; else None."""
    if options.get("method") != "singlestep":
        return None
    return order_plan(intervals, options.get("order", 2), options.get("lower_order_final", True))


solver("dpm-solver", grid="time_uniform", end=0, reversible=True, groups=step_sizes)(
    integrator(data=False)
)
solver("dpm-solver++", grid="time_uniform", reversible=True, clips=True, groups=step_sizes)(
    integrator(data=True)
)


def integrate(
    denoiser: Denoiser, x: Tensor, schedule: NoiseLevels, times: Sequence[float], *,
    data: bool, order: int, method: str, solver_type: str, lower_order_final: bool,
    atol: float, rtol: float,
) -> Tensor:  # fmt: skip
    """Check the options and run the method."""
    if method not in METHODS:
        raise InputError(
            f"method: found {method!r}, {nearest(str(method), METHODS)}allowed: "
            f"{', '.join(METHODS)}"
        )
    order = checked_order(order, ORDERS[1:] if method == "adaptive" else ORDERS)
    if solver_type not in SOLVER_TYPES:
        raise InputError(f"solver_type: found {solver_type!r}, allowed: {', '.join(SOLVER_TYPES)}")
    lower_order_final = checked_switch("lower_order_final", lower_order_final)
    taylor = solver_type == "taylor"
    if method == "adaptive":
        return adaptive(denoiser, x, schedule, times, order=order, data=data, taylor=taylor,
                        atol=atol, rtol=rtol)  # fmt: skip
    points = schedule.points(times)
    if method == "singlestep":
        return singlestep(denoiser, x, points, order=order, data=data, taylor=taylor,
                          lower_order_final=lower_order_final)  # fmt: skip
    return multistep(denoiser, x, points, order=order, data=data, taylor=taylor,
                     lower_order_final=lower_order_final,
                     published=solver_type == "published")  # fmt: skip


def checked_order(order: object, allowed: Sequence[int]) -> int:
    """`order` if it is one of `allowed`, which leave no gap, else InputError."""
    return checked_integer("order", order, allowed[0], allowed[-1])
