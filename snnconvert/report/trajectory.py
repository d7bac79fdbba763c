"""The error of a converted network along a solver's path, and what each of its calls costs.

Local error: both networks on the quantised ANN's own x_t. Divergence: each network on its own path
from the same seeds. Spikes, clock steps and energy of every call are counted for both resets:
counts that start at zero in every call, and counts that stay (one continuous spiking run).
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import torch
from torch import Tensor, nn

from snnconvert.checkpoint.checkpoint import Checkpoint
from snnconvert.checkpoint.schedules import schedule_of
from snnconvert.common.denoises import facts_of, with_facts
from snnconvert.conversion.graph.values import leaves
from snnconvert.conversion.spiking.network import SpikingNetwork, converted
from snnconvert.conversion.spiking.simulation import Run
from snnconvert.diffusion.sampling import device_of, plan, sample
from snnconvert.diffusion.schedule import NoiseLevels
from snnconvert.diffusion.solvers import SOLVERS
from snnconvert.errors import InputError
from snnconvert.report.measures.cost import Cost, count_cost


class Recorded:
    """Passes calls on to a network and keeps what went in and came out."""

    def __init__(self, network: nn.Module) -> None:
        self.network = network
        with_facts(self, facts_of(network))
        self.calls: list[tuple[Tensor, Tensor, Tensor]] = []
        self.arguments: dict[str, Any] = {}  # further ones, the same in every call

    @property
    def device(self) -> torch.device:
        return device_of(self.network)

    def __call__(self, x: Tensor, t: Tensor, **arguments: Any) -> Tensor:
        self.arguments = arguments
        output: Tensor = leaves(self.network(x, t, **arguments))[0]
        self.calls.append((x, t, output))
        return output


class Counted(Recorded):
    """As `Recorded`, of a spiking network, with the cost of every call."""

    network: SpikingNetwork

    def __init__(self, network: SpikingNetwork) -> None:
        super().__init__(network)
        self.costs: list[dict[str, float]] = []

    def __call__(self, x: Tensor, t: Tensor, **arguments: Any) -> Tensor:
        run = self.network.run(x, t, record="counts", **arguments)
        output: Tensor = leaves(run.output)[0]
        self.calls.append((x, t, output))
        inputs = self.network.program.bind((x, t), arguments)
        self.costs.append(call_cost(self.network, inputs, run))
        return output

    def reset(self) -> None:
        self.network.reset()


def call_cost(network: SpikingNetwork, inputs: Sequence[Tensor], run: Run) -> dict[str, float]:
    """Clock steps of one call; spikes, final counts and energy per image."""
    images = network.program.batch_size(inputs)
    cost: Cost = count_cost(network, inputs, run)
    return {
        "clock_steps": run.steps,
        "spikes": sum(v.double().sum().item() for v in run.emitted.values()) / images,
        "counts": sum(v.double().abs().sum().item() for v in run.counts.values()) / images,
        "energy_mj": cost.to_dict(network.config.levels)["energy_snn_mj"],
    }


def relative_distance(found: Tensor, wanted: Tensor) -> float:
    """|found - wanted| / |wanted|, Euclidean, in float64."""
    scale = wanted.double().norm().item()
    result: float = (found.double() - wanted.double()).norm().item() / (scale or 1.0)
    return result


@torch.no_grad()
def follow(
    ann: nn.Module,
    snn: SpikingNetwork,
    shape: Sequence[int],
    *,
    solver: str = "ddim",
    steps: int = 50,
    schedule: NoiseLevels | None = None,
    seed: int = 0,
    **options: Any,
) -> dict[str, Any]:
    """Sample with both networks from the same seeds and compare call by call.

    Args:
        ann: the quantised network, `(x, t) -> prediction`.
        snn: converted from it.
        shape: [B, C, H, W] of the images to draw.
        solver, steps, schedule, seed, options: as `sample`.

    Returns:
        `calls[]` with t, `eps_error` (local) and `divergence` (of x_t), and under `call` and
        `trajectory` clock steps, spikes, counts and energy per image; `total` of them per image;
        `images_equal` and `image_error` per reset. Where `snn` cannot carry its counts (it needs
        immediate firing, signed spikes, settle="auto") only `call` is there.

    Raises:
        InputError: as `sample`, or adaptive steps, which differ from network to network.
    """
    snn, grid = converted(snn), options.pop("grid", None)
    if plan(solver, steps, schedule, grid, **options).adaptive:
        raise InputError("trajectory: adaptive steps have no calls to compare; choose a grid")
    options["grid"] = grid
    arguments = {"solver": solver, "steps": steps, "schedule": schedule, "seed": seed,
                 "shape": shape, **options}  # fmt: skip
    reference = Recorded(ann)
    wanted = sample(reference, **arguments)
    paths = {"call": Counted(snn.with_config(reset="call", simulate="steps"))}
    with contextlib.suppress(InputError):  # fixed settle, deferred firing, ...: nothing to carry
        paths["trajectory"] = Counted(snn.with_config(reset="trajectory", simulate="steps"))
    images = {name: sample(path, **arguments) for name, path in paths.items()}
    return {
        "solver": solver,
        "steps": steps,
        "images": shape[0],
        "seed": seed,
        "nfe": len(reference.calls),
        "images_equal": {name: torch.equal(image, wanted) for name, image in images.items()},
        "image_error": {name: relative_distance(image, wanted) for name, image in images.items()},
        "total": {name: total(path.costs) for name, path in paths.items()},
        "calls": list(call_rows(reference, paths)),
    }


def call_rows(reference: Recorded, paths: Mapping[str, Counted]) -> Iterator[dict[str, Any]]:
    """One row a call: errors against `reference`, and what it cost under each reset."""
    local = paths["call"].network
    for number, (x, t, eps) in enumerate(reference.calls):
        found = paths["call"].calls[number][0]
        own = (
            paths["call"].calls[number][2]
            if torch.equal(found, x)
            else leaves(local(x, t, **reference.arguments))[0]
        )
        yield {
            "t": float(t[0]),
            "eps_error": relative_distance(own, eps),
            "divergence": relative_distance(found, x),
            **{name: path.costs[number] for name, path in paths.items()},
        }


def total(costs: Sequence[dict[str, float]]) -> dict[str, float]:
    """Sums over the calls of one image, and spikes per final count."""
    sums = {key: sum(cost[key] for cost in costs) for key in costs[0]}
    return {**sums, "spikes_per_count": sums["spikes"] / max(sums["counts"], 1.0)}


def paths_of(qann: nn.Module, snn: SpikingNetwork, checkpoint: Checkpoint) -> list[dict[str, Any]]:
    """A short look along two solvers' paths; `snnconvert trajectory` takes a longer one."""
    recipe, shape = checkpoint.denoiser_recipe, checkpoint.image_shape(snn)
    steps = min(10, recipe.diffusion_steps)
    return [
        follow(qann, snn, (2, *shape), solver=solver,
               steps=steps, schedule=schedule_of(recipe), prediction=recipe.prediction,
               **({"clip": True} if SOLVERS[solver].clips else {}))
        for solver in ("ddim", "dpm-solver++")
    ]  # fmt: skip
