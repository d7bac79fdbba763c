"""Inputs to fine-tune a converted network on: the training images of its recipe."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path

from torch import Tensor

from snnconvert.checkpoint.recipe import Recipe
from snnconvert.errors import DataError
from snnconvert.images.datasets import DATASETS
from snnconvert.images.datasets.folder import in_channels
from snnconvert.images.pixels import Images
from snnconvert.training.run import step_generator
from snnconvert.training.tasks import batch_of


def training_inputs(
    recipe: Recipe, steps: int, *, batch_size: int, seed: int = 0,
    data_root: str | Path | None = None, shape: Sequence[int] | None = None,
) -> Iterator[tuple[Tensor, ...]]:  # fmt: skip
    """Arguments of one network call a step: fresh training images, noised over all t.

    Args:
        data_root: where the recipe's data set lies; default as the recipe says.
        shape: [C, H, W] that the network takes; a folder's images get its channels.

    Raises:
        RecipeError: a value that no recipe may have.
        DataError: no such images there, or of another shape.
    """
    root = str(data_root or recipe.data_root)
    recipe = replace(recipe, batch_size=batch_size, seed=seed, data_root=root)
    images = DATASETS[recipe.dataset](Path(root), recipe.image_size, True)
    if shape:
        images = in_channels(images, shape[0])
        refuse_other_shape(recipe, images, shape)
    return (
        batch_of(recipe, images, step, step_generator(recipe, "tuning", step)).inputs
        for step in range(steps)
    )


def refuse_other_shape(recipe: Recipe, images: Images, shape: Sequence[int]) -> None:
    """DataError unless the images of a recipe have the `shape` [C, H, W] that a network takes."""
    found = [images.channels, recipe.image_size, recipe.image_size]
    if found != list(shape):
        raise DataError(
            f"{recipe.dataset}: the recipe in the file gives images of {found}, the network takes "
            f"{list(shape)} (channels, height, width): it was trained on others; in Python, "
            "snnconvert.finetune(network, batches, ...) takes any"
        )
