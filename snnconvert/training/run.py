"""What one training step draws: a function of the recipe, the stage and the step's number alone."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor

from snnconvert.checkpoint.recipe import Recipe
from snnconvert.common.processes import Shard
from snnconvert.common.randomness import stream_seed
from snnconvert.images.pixels import Images
from snnconvert.training.tasks import Batch, batch_of


@dataclass
class TrainingRun:
    """What a training needs besides its state; rebuilt at every start."""

    recipe: Recipe
    images: Images
    shard: Shard
    precision: str
    out: Path
    show: bool

    @property
    def leads(self) -> bool:
        """Whether this process writes files."""
        return self.shard.rank == 0


def batch_at(run: TrainingRun, stage: str, step: int) -> Batch:
    """This process's share of the batch of one step; seeds what dropout draws."""
    rng, shard = step_generator(run.recipe, stage, step), run.shard
    whole = batch_of(run.recipe, run.images, step, rng)
    torch.manual_seed(int(torch.randint(2**62, (), generator=rng)) + shard.rank)
    return whole.part(shard.rank, shard.size).to(shard.device)


def drawn_inputs(run: TrainingRun, stream: str, count: int) -> Iterator[tuple[Tensor, ...]]:
    """Inputs of `count` batches from a stream of random numbers of their own."""
    for number in range(count):
        rng = step_generator(run.recipe, stream, number)
        yield batch_of(run.recipe, run.images, number, rng).to(run.shard.device).inputs


def step_generator(recipe: Recipe, stage: str, step: int) -> torch.Generator:
    """The random numbers of one step, a function of seed, stage and step."""
    return torch.Generator().manual_seed(stream_seed(recipe.seed, step, stage))
