"""Whether a training's state is what a training saves; a damaged one is told in one line."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from snnconvert.checkpoint.recipe import Recipe, recipe_from_dict
from snnconvert.common.checks import MOST
from snnconvert.errors import CheckpointError, RecipeError

MOST_THREADS = 1024  # far more than processors have; PyTorch dies of a million
STATE_KEYS = {"recipe", "device", "precision", "threads", "stage", "step", "finished", "losses"}
REMEDY = "delete it to start again"
OF_OPTIMIZER = {"adam": {"step", "exp_avg", "exp_avg_sq"}, "sgd": {"momentum_buffer"}}


def check_values(path: Path, state: object) -> None:
    """CheckpointError that names the first value of a state which is not what it stands for."""
    if not isinstance(state, dict) or not set(state) >= STATE_KEYS:
        raise CheckpointError(f"{path}: is no training state; {REMEDY}")
    if not isinstance(state["recipe"], dict):
        raise damaged(path, "recipe")
    try:
        recipe = recipe_from_dict(state["recipe"], str(path))
    except RecipeError as error:
        raise CheckpointError(f"{error}; {REMEDY}") from error
    for name, right in sound(state, recipe):
        if not right:
            raise damaged(path, name)


def damaged(path: Path, name: str) -> CheckpointError:
    return CheckpointError(f"{path}: is damaged (its {name!r} is none of a training's); {REMEDY}")


def sound(state: dict[str, Any], recipe: Recipe) -> Iterator[tuple[str, bool]]:
    """Keys of a state and whether their values make sense, given that those before them do."""
    stages, stage, step = recipe.stages, state["stage"], state["step"]
    finished, losses = state["finished"], state["losses"]
    yield "device", state["device"] in ("cpu", "cuda")
    yield "precision", state["precision"] in ("float32", "bfloat16")
    yield "threads", is_count(state["threads"], MOST_THREADS) and state["threads"] > 0
    yield "finished", (isinstance(finished, dict) and list(finished) == [*stages[: len(finished)]]
                       and all(isinstance(value, dict) for value in finished.values()))  # fmt: skip
    at_hand = (None, *stages[: len(finished) + 1])  # the last finished one, too
    yield "stage", isinstance(stage, str | None) and stage in at_hand
    begun = {*finished} if stage is None else {*finished, stage}
    yield "losses", isinstance(losses, dict) and set(losses) == begun and all(
        isinstance(values, list) and all(type(value) is float for value in values)
        for values in losses.values()
    )  # fmt: skip
    in_progress = stage is not None and stage not in finished
    yield "step", is_count(step) and (not in_progress or 0 < step == len(losses[stage]))
    for name in ("network", "average", "optimizer") if in_progress else ():
        yield name, isinstance(state.get(name), dict)
    yield "images", "images" not in state or is_of_images(state["images"])


def is_count(value: object, most: int = MOST) -> bool:
    return type(value) is int and 0 <= value <= most


def is_of_images(value: object) -> bool:
    """Whether that may be what `seen_images` gave, or an earlier version of it."""
    if not isinstance(value, dict) or not {"training", "held out"} <= set(value):
        return False
    labels = value.get("classes", {})
    return (
        is_count(value["training"]) and is_count(value["held out"])
        and all(isinstance(value.get(name, ""), str) for name in ("touched", "labels", "content"))
        and isinstance(labels, dict)
        and all(isinstance(name, str) and is_count(label) for name, label in labels.items())
    )  # fmt: skip


def check_tensors(path: Path, name: str, held: object, network: nn.Module) -> None:
    """CheckpointError unless `held`, under `name` in a state, are the tensors of `network`."""
    wanted = network.state_dict()
    if not isinstance(held, Mapping) or held.keys() != wanted.keys():
        raise damaged(path, name)
    if not all(is_like(held[key], value) for key, value in wanted.items()):
        raise damaged(path, name)


def is_like(held: object, wanted: Tensor) -> bool:
    """Whether that is a tensor of the shape and kind of another."""
    return (
        isinstance(held, Tensor)
        and held.shape == wanted.shape
        and held.is_floating_point() == wanted.is_floating_point()
        and held.is_complex() == wanted.is_complex()
    )


def moments_of(
    path: Path, held: Mapping[str, Any], kind: str, trained: Sequence[Tensor]
) -> dict[int, dict[str, Tensor]]:
    """What an optimizer of that kind remembers of each of the tensors it trains, from a state.

    Nothing of those that never had a gradient.

    Raises:
        CheckpointError: something else.
    """
    moments = held.get("state")
    if not isinstance(moments, dict) or not set(moments) <= {*range(len(trained))}:
        raise damaged(path, "optimizer")
    right = bool(moments) == bool(trained) and all(
        isinstance(entry, dict)
        and set(entry) == OF_OPTIMIZER[kind]
        and all(is_like(value, trained[number]) or (name == "step" and is_step(value))
                for name, value in entry.items())
        for number, entry in moments.items()
    )  # fmt: skip
    if not right:
        raise damaged(path, "optimizer")
    return moments


def is_step(value: object) -> bool:
    return isinstance(value, Tensor) and value.dtype == torch.float32 and value.numel() == 1
