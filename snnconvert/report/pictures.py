"""Images that networks draw from equal seeds, and figures of them."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.functional import avg_pool2d, pad

from snnconvert.checkpoint.checkpoint import Checkpoint
from snnconvert.checkpoint.schedules import schedule_of
from snnconvert.conversion.spiking.network import SpikingNetwork
from snnconvert.diffusion.sampling import sample
from snnconvert.diffusion.schedule import NoiseLevels
from snnconvert.diffusion.solvers import SOLVERS
from snnconvert.diffusion.times import Range
from snnconvert.images.pixels import UNIT_RANGE, in_unit_range
from snnconvert.report.trajectory import relative_distance

SOLVED_BY = ("ddim", "dpm-solver++")
EVALUATIONS = (5, 10, 20)
SHOWN_AT = 20
IMAGES = 6


@dataclass(frozen=True)
class Drawing:
    """How a denoiser's images are drawn.

    Attributes:
        shape: [C, H, W] of one.
        schedule, prediction, grid, t_range: as `snnconvert.sample`.
        data_range: (low, high) of the images, black and white.
    """

    shape: Sequence[int]
    schedule: NoiseLevels
    prediction: str = "eps"
    grid: str | None = None
    t_range: Range | None = None
    data_range: Range = UNIT_RANGE


def drawing_of(
    checkpoint: Checkpoint | None,
    snn: SpikingNetwork,
    facts: Mapping[str, Any],
) -> Drawing | None:
    """How the denoiser in a checkpoint draws; None for any other network.

    Args:
        facts: what is known of a denoiser from elsewhere.
    """
    if checkpoint is not None and checkpoint.has_recipe:
        if checkpoint.is_classifier:
            return None
        recipe = checkpoint.denoiser_recipe
        return Drawing(checkpoint.image_shape(snn), schedule_of(recipe), recipe.prediction)
    takes = snn.program.takes
    shapes = takes.shapes
    if (
        "schedule" not in facts
        or shapes is None
        or list(map(len, shapes[:1])) != [4]
        or len(shapes) != 2
    ):
        return None
    if not takes.has_time:
        return None
    captured = snn.program.signature
    whole = captured is not None and not captured.dtypes[snn.program.inputs[1]].is_floating_point
    grid = "uniform" if whole else None
    prediction = facts.get("prediction", "eps")
    return Drawing(
        shapes[0][1:], facts["schedule"], prediction, grid, facts.get("t_range"),
        facts.get("data_range", UNIT_RANGE),
    )  # fmt: skip


def noise_of(images: Tensor) -> float:
    """High-frequency noise: the standard deviation of images [N, C, H, W] minus their 3x3 means."""
    smooth = avg_pool2d(pad(images, (1, 1, 1, 1), mode="replicate"), 3, stride=1)
    return float((images - smooth).std())


@torch.no_grad()
def draw_side_by_side(
    networks: Mapping[str, nn.Module],
    drawing: Drawing,
    *,
    images: int = IMAGES,
    evaluations: Sequence[int] = EVALUATIONS,
    seed: int = 0,
    on_draw: Callable[[str], object] = lambda words: None,
) -> tuple[list[dict[str, Any]], dict[str, dict[str, Tensor]]]:
    """(figures, images [N, C, H, W] in [-1, 1] by solver and network), all from equal seeds.

    A row of the figures is a solver and a number of evaluations: `noise` (high-frequency) and
    `brightness` (mean) by network, and `distance` of each from the first.

    Args:
        networks: by name; the first is what the others are held against.
    """
    rows: list[dict[str, Any]] = []
    shown: dict[str, dict[str, Tensor]] = {}
    shape = (images, *drawing.shape)
    for solver in SOLVED_BY:
        clip: dict[str, Any] = {"clip": drawing.data_range} if SOLVERS[solver].clips else {}
        for nfe in evaluations:
            found: dict[str, Tensor] = {}
            for name, network in networks.items():
                on_draw(f"{name}, {solver}, {nfe} evaluations")
                found[name] = sample(
                    network, shape=shape, solver=solver, steps=nfe, schedule=drawing.schedule,
                    prediction=drawing.prediction, grid=drawing.grid, seed=seed,
                    t_range=drawing.t_range, **clip,
                )  # fmt: skip
            first = next(iter(found.values()))
            rows.append({
                "solver": solver, "nfe": nfe, "images": images, "seed": seed,
                "noise": {name: noise_of(value) for name, value in found.items()},
                "brightness": {name: float(value.mean()) for name, value in found.items()},
                "distance": {name: relative_distance(v, first) for name, v in found.items()},
            })  # fmt: skip
            if nfe == min(SHOWN_AT, max(evaluations)):
                shown[solver] = {
                    name: in_unit_range(value, drawing.data_range) for name, value in found.items()
                }
    return rows, shown
