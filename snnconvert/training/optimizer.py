"""The optimizer of a stage, and the learning rate of its steps."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import torch
from torch import nn

from snnconvert.checkpoint.recipe import Recipe
from snnconvert.training.state.damage import moments_of


def optimizer_of(
    recipe: Recipe, network: nn.Module, rate: float, recorded: bool = False
) -> torch.optim.Optimizer:
    """Adam or SGD; weights decay, but not biases, norms, ceilings and other vectors.

    recorded: it will run inside a CUDA graph; its learning rate is a tensor there.
    """
    trained = [value for value in network.parameters() if value.requires_grad]
    groups = [
        {"params": [v for v in trained if v.ndim > 1], "weight_decay": recipe.weight_decay},
        {"params": [v for v in trained if v.ndim <= 1], "weight_decay": 0.0},
    ]
    lr = torch.tensor(rate, device=trained[0].device) if recorded else rate
    if recipe.optimizer == "sgd":
        return torch.optim.SGD(groups, lr, momentum=0.9, nesterov=True, fused=True)
    return torch.optim.AdamW(groups, lr, fused=True, capturable=recorded)


def resume_optimizer(
    optimizer: torch.optim.Optimizer, held: dict[str, Any], kind: str, path: Path
) -> None:
    """Give a fresh optimizer what the state in the file at `path` remembers of its moments.

    All else of it follows from the recipe and the device, which may be another.
    """
    trained = [value for group in optimizer.param_groups for value in group["params"]]
    moments = moments_of(path, held, kind, trained)
    optimizer.load_state_dict({**optimizer.state_dict(), "state": moments})


def rate_factor(recipe: Recipe, step: int, steps: int) -> float:
    """Learning rate over its peak: linear warm-up, then cosine to zero or constant."""
    warm = min(1.0, (step + 1) / max(1, recipe.warmup))
    if recipe.decay == "constant":
        return warm
    return warm * 0.5 * (1 + math.cos(math.pi * step / steps))
