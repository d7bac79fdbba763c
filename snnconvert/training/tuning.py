"""Inputs to fine-tune a converted network on: the training images of its recipe."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

from torch import Tensor

from snnconvert.checkpoint.recipe import Recipe
from snnconvert.images.datasets import DATASETS
from snnconvert.training.run import step_generator
from snnconvert.training.tasks import batch_of


def training_inputs(
    recipe: Recipe, steps: int, *, batch_size: int, seed: int = 0,
    data_root: str | Path | None = None,
) -> Iterator[tuple[Tensor, ...]]:  # fmt: skip
    """Arguments of one network call a step: fresh training images, noised over all t.

    Args:
        data_root: where the recipe's data set lies; default as the recipe says.

    Raises:
        RecipeError: a value that no recipe may have.
        DataError: no such images there.
    """
    root = str(data_root or recipe.data_root)
    recipe = replace(recipe, batch_size=batch_size, seed=seed, data_root=root)
    images = DATASETS[recipe.dataset](Path(root), recipe.image_size, True)
    return (
        batch_of(recipe, images, step, step_generator(recipe, "tuning", step)).inputs
        for step in range(steps)
    )
