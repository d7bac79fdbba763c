"""A training whose numbers ran away: told at its step, before anything of it is kept."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from snnconvert.checkpoint.recipe import Recipe
from snnconvert.errors import DivergedError
from snnconvert.training.state.state import may_change


def check_losses(
    recipe: Recipe, stage: str, taken: int, losses: Sequence[float], state: dict[str, Any],
    path: Path,
) -> None:  # fmt: skip
    """DivergedError at the first of the `losses` after `taken` steps that is no finite number."""
    for step, loss in enumerate(losses, taken + 1):
        if not math.isfinite(loss):
            raise diverged(recipe, stage, f"the loss is {loss} in step {step}", state, path)


def check_weights(
    recipe: Recipe, stage: str, done: int, networks: Sequence[nn.Module], state: dict[str, Any],
    path: Path,
) -> None:  # fmt: skip
    """DivergedError where a network holds a number that is not finite after `done` steps.

    Among its parameters and running statistics: tables may hold what they like.
    """
    held = [
        value for network in networks
        for value in (*network.parameters(), *running_statistics(network))
    ]  # fmt: skip
    finite = [value.isfinite().all() for value in held]
    if not bool(torch.stack(finite).all()):
        raise diverged(recipe, stage, f"weights are not finite after step {done}", state, path)


def running_statistics(network: nn.Module) -> Iterator[Tensor]:
    """Of batch norms."""
    return (value for name, value in network.named_buffers() if "running_" in name)


def diverged(
    recipe: Recipe, stage: str, what: str, state: dict[str, Any], path: Path
) -> DivergedError:
    """The error that says where a training diverged, and how to go on.

    Args:
        state: of the training; it is kept in the file at `path` as it was when last saved.
    """
    key = recipe.rate_key_of(stage)
    if not path.exists():
        way = "start again"
    elif key in may_change(state):
        way = f"go on by the same command ({path} keeps what was finished)"
    else:
        way = f"delete {path}, the last good state, or choose another output with -o"
    return DivergedError(
        f"{stage}: {what} of {recipe.steps_of(stage)}: the training has diverged. Lower {key} "
        f"(found {getattr(recipe, key):g}) or grad_clip (found {recipe.grad_clip:g}), or lengthen "
        f"warmup (found {recipe.warmup}); then {way}"
    )
