"""Real inputs of a trained network, from the images that travel in its checkpoint."""

from __future__ import annotations

from functools import lru_cache
from typing import Any

import torch
from torch import Tensor

from snnconvert.datasets.images import to_unit_range
from snnconvert.diffusion.objectives import noised_batch
from snnconvert.diffusion.schedule import Schedule, named_schedule
from snnconvert.errors import CheckpointError, InputError
from snnconvert.recipe import Recipe, recipe_from_dict

BATCH = 32
linear_schedule = lru_cache(maxsize=4)(Schedule.linear)


def recipe_of(content: dict[str, Any], source: str) -> Recipe:
    """The recipe in a checkpoint's content; CheckpointError where it holds none."""
    if not content["recipe"]:
        raise CheckpointError(
            f"{source}: holds no recipe, so its schedule and image size are unknown; in Python, "
            "snnconvert.sample(snnconvert.load(FILE), shape=(B, C, H, W), schedule=...) takes them"
        )
    return recipe_from_dict(content["recipe"], source)


def denoiser_recipe_of(content: dict[str, Any], source: str) -> Recipe:
    """As `recipe_of`; CheckpointError too where it is no denoiser's."""
    recipe = recipe_of(content, source)
    if recipe.family.task != "noise":
        raise CheckpointError(
            f"{source}: holds a classifier ({recipe.model}); this needs a denoiser (x, t) -> noise"
        )
    return recipe


def schedule_for(content: dict[str, Any], source: str, named: str | None = None) -> Schedule:
    """The schedule that the network of a checkpoint was trained with; `named` if it does not say.

    Raises:
        InputError: no such schedule, or another one than the file's.
        CheckpointError: the file does not say, and none is named.
    """
    given = None if named is None else named_schedule(named)
    if not content["recipe"]:
        if given is None:
            raise CheckpointError(
                f"{source}: holds no recipe, so the noise it was trained with is unknown; give "
                "--schedule linear (DDPM's), cosine, or FIRST,LAST,STEPS"
            )
        return given
    own = schedule_of(denoiser_recipe_of(content, source))
    if given is not None and not torch.equal(given.alphas_cumprod, own.alphas_cumprod):
        raise InputError(
            f"--schedule: found {named}, but {source} was trained with another one; leave it out"
        )
    return own


def schedule_of(recipe: Recipe) -> Schedule:
    """The noise schedule that a recipe describes; every training step asks for it."""
    return linear_schedule(recipe.diffusion_steps, recipe.beta_first, recipe.beta_last)


def probe_batches(
    content: dict[str, Any], source: str, count: int | None = None, seed: int = 0
) -> list[tuple[Tensor, ...]]:
    """Arguments of network calls on held-out real images, shuffled.

    A denoiser gets (x_t, t), t spread evenly over the whole diffusion; a classifier (x,).

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
    inputs: tuple[Tensor, ...] = (images,)
    generator = torch.Generator().manual_seed(seed)
    if recipe.family.task == "noise":
        inputs = noised_batch(images, schedule_of(recipe), generator, spread=True)[:2]
    order = torch.randperm(len(inputs[0]), generator=generator)
    return list(zip(*(value[order].split(BATCH) for value in inputs), strict=True))
