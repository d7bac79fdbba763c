"""What a network is trained on: a batch of inputs and targets, and its loss."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from snnconvert.checkpoint.recipe import Recipe
from snnconvert.checkpoint.schedules import schedule_of
from snnconvert.diffusion.objectives import (
    beyond_range,
    gaussian_like,
    noised_batch,
    prediction_loss,
    target_of,
)
from snnconvert.errors import DataError
from snnconvert.images.order import step_indices
from snnconvert.images.pixels import Images, to_unit_range

VIEWS = 3  # of one image that a critic sees: what it means, its noise, and itself


@dataclass(frozen=True)
class Batch:
    """Arguments of one network call and what it should give; all [B, ...].

    Attributes:
        inputs, target: what the names say.
        beyond: where an error in one direction is none (`beyond_range`); None: nowhere.
        nudge: noise by which a critic's slope is measured, [B, views, H, W]; None: no critic.
    """

    inputs: tuple[Tensor, ...]
    target: Tensor
    beyond: Tensor | None = None
    nudge: Tensor | None = None

    @property
    def tensors(self) -> tuple[Tensor, ...]:
        """All of it."""
        others = (value for value in (self.beyond, self.nudge) if value is not None)
        return (*self.inputs, self.target, *others)

    def part(self, rank: int, size: int) -> Batch:
        """The share of process `rank` of `size`, which divides the batch."""
        share = len(self.target) // size
        here = slice(rank * share, (rank + 1) * share)
        return self._each(lambda value: value[here])

    def to(self, device: torch.device) -> Batch:
        return self._each(lambda value: value.to(device, non_blocking=True))

    def _each(self, change: Callable[[Tensor], Tensor]) -> Batch:
        others = (None if value is None else change(value) for value in (self.beyond, self.nudge))
        return Batch(tuple(map(change, self.inputs)), change(self.target), *others)


def check_task_images(recipe: Recipe, images: Images) -> None:
    """DataError unless a classifier's images have labels that it can give."""
    if recipe.family.task != "classes":
        return
    if images.labels is None:
        raise DataError(f"{recipe.dataset}: has no labels, and {recipe.model} needs them")
    largest = int(images.labels.max())
    if largest >= recipe.classes:
        raise DataError(
            f"{recipe.dataset}: has labels up to {largest}; set classes = {largest + 1} or more "
            f"(found {recipe.classes})"
        )


def batch_of(recipe: Recipe, images: Images, step: int, rng: torch.Generator) -> Batch:
    """What the networks of `recipe` see in one training step, drawn by `rng`.

    It is computed where the images are kept.
    """
    indices = step_indices(recipe.seed, step, recipe.batch_size, len(images))
    x = augmented(to_unit_range(images.take(indices)), recipe, rng)
    if recipe.family.task == "classes":
        if images.labels is None:
            raise DataError(f"{recipe.dataset}: has no labels")
        return Batch((x,), images.labels[torch.as_tensor(indices)])
    schedule = schedule_of(recipe)
    x_t, t, eps = noised_batch(x, schedule, rng, power=recipe.time_power)
    return Batch(
        (x_t, t),
        target_of(recipe.prediction, x, eps, schedule, t),
        beyond_range(recipe.prediction, x) if recipe.clipped else None,
        gaussian_like(x.repeat(1, VIEWS, 1, 1), rng) if recipe.judged else None,
    )


def augmented(images: Tensor, recipe: Recipe, rng: torch.Generator) -> Tensor:
    """Images mirrored and shifted at random where the recipe says so."""
    if recipe.flip:
        mirrored = (torch.rand(len(images), 1, 1, 1, generator=rng) < 0.5).to(images.device)
        images = torch.where(mirrored, images.flip(-1), images)
    return shifted(images, recipe.crop, rng) if recipe.crop else images


def shifted(images: Tensor, most: int, rng: torch.Generator) -> Tensor:
    """Images [B, C, H, W] moved by up to `most` pixels each way; black (-1) comes in."""
    count, _, height, width = images.shape
    framed = F.pad(images, (most, most, most, most), value=-1.0)
    rows, columns = torch.randint(2 * most + 1, (2, count, 1), generator=rng)
    rows = (rows + torch.arange(height)).to(images.device)  # [B, H]
    columns = (columns + torch.arange(width)).to(images.device)  # [B, W]
    which = torch.arange(count, device=images.device).view(-1, 1, 1)
    return framed[which, :, rows[:, :, None], columns[:, None, :]].permute(0, 3, 1, 2).contiguous()


@torch.no_grad()
def answer_of(recipe: Recipe, teacher: nn.Module, batch: Batch) -> Tensor:
    """What `teacher` says to a batch: its prediction, or probabilities of classes."""
    answer: Tensor = teacher(*batch.inputs).float()
    return answer.softmax(1) if recipe.family.task == "classes" else answer


def loss_of(
    recipe: Recipe, prediction: Tensor, batch: Batch, answer: Tensor | None = None
) -> Tensor:
    """Mean loss of what a network said to a batch: squared error, or cross entropy of classes.

    answer: what a teacher says, to learn instead of the batch's target.
    """
    if recipe.family.task == "classes":
        return F.cross_entropy(prediction, batch.target if answer is None else answer)
    return prediction_loss(prediction, batch.target, answer, batch.beyond)
