"""Inputs to fine-tune a converted network on: the training images of its recipe."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from torch import Tensor

from snnconvert.checkpoint.recipe import Recipe
from snnconvert.training.loop import step_generator
from snnconvert.training.tasks import batch_of


def training_inputs(recipe: Recipe, images: Any, steps: int) -> Iterator[tuple[Tensor, ...]]:
    """Arguments of one network call a step: fresh training images, noised over all t."""
    for step in range(steps):
        yield batch_of(recipe, images, step, step_generator(recipe, "tuning", step)).inputs
