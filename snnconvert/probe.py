"""Real noised inputs of a diffusion checkpoint, from the images that travel in it."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from snnconvert.datasets.images import to_unit_range
from snnconvert.diffusion.objectives import noised_batch
from snnconvert.diffusion.schedule import Schedule
from snnconvert.errors import CheckpointError
from snnconvert.recipe import Recipe, recipe_from_dict

BATCH = 32


def recipe_of(content: dict[str, Any], source: str) -> Recipe:
    """The recipe in a checkpoint's content; CheckpointError where it holds none."""
    if not content["recipe"]:
        raise CheckpointError(
            f"{source}: holds no recipe, so its schedule and image size are unknown; "
            "use the Python functions, which take them as arguments"
        )
    return recipe_from_dict(content["recipe"], source)


def schedule_of(recipe: Recipe) -> Schedule:
    """The noise schedule that a recipe describes."""
    return Schedule.linear(recipe.diffusion_steps, recipe.beta_first, recipe.beta_last)


def probe_batches(
    content: dict[str, Any], source: str, count: int | None = None, seed: int = 0
) -> list[tuple[Tensor, Tensor]]:
    """(x_t, t) of held-out real images, t spread evenly over the whole diffusion, shuffled.

    Args:
        content: of a checkpoint; source: its name for errors.
        count: number of inputs, at most as many as the checkpoint holds; default all.

    Raises:
        CheckpointError: the checkpoint holds no recipe or no images.
    """
    recipe = recipe_of(content, source)
    pixels = content["probe"]
    if not isinstance(pixels, Tensor) or pixels.ndim != 4 or len(pixels) == 0:
        raise CheckpointError(f"{source}: holds no probe images to measure with")
    images = to_unit_range(pixels[:count])
    generator = torch.Generator().manual_seed(seed)
    x, t, _ = noised_batch(images, schedule_of(recipe), generator, spread=True)
    order = torch.randperm(len(x), generator=generator)
    return list(zip(x[order].split(BATCH), t[order].split(BATCH), strict=True))
