"""The state that a training resumes from: a file beside its result until the end."""

from __future__ import annotations

from collections.abc import Collection
from pathlib import Path
from typing import Any

import torch

from snnconvert.checkpoint.recipe import Recipe, recipe_from_dict
from snnconvert.common.hardware import best_precision, choose_device
from snnconvert.common.warning import warn
from snnconvert.errors import CheckpointError, RecipeError
from snnconvert.files.atomic import write_atomically
from snnconvert.files.tensors import read_file
from snnconvert.training.state.damage import REMEDY, check_values

WHERE = {"data_root", "device", "save_every", "sample_every"}  # no matter of what is trained
LENGTHS = {"steps", "quantized_steps", "radix_steps"}  # may change while the training goes on
LATER = {"quantized_learning_rate", "quantized_target", "critic", "critic_data"}  # until it began


def beside(out: Path, ending: str) -> Path:
    """A companion of the result: its name without ".pt", and `ending`."""
    return out.with_name(out.name.removesuffix(".pt") + ending)


def load_state(path: Path, recipe: Recipe) -> dict[str, Any]:
    """The state to resume from, or a fresh one.

    Raises:
        CheckpointError: another recipe's is there, or a damaged one.
        RecipeError: it has fewer steps than were taken.
    """
    if path.exists():
        state = read_file(path, REMEDY)
        check_values(path, state)
        check_same_recipe(path, state["recipe"], recipe, may_change(state))
        return continued(path, state, recipe)
    return {
        **place_of(recipe),
        "recipe": recipe.to_dict(),
        "threads": torch.get_num_threads(),
        "stage": None,
        "step": 0,
        "finished": {},
        "losses": {},
    }


def may_change(state: dict[str, Any]) -> set[str]:
    """The keys of the recipe that may be others when a training goes on."""
    begun = {state["stage"], *state["finished"]}
    return WHERE | LENGTHS | (LATER if begun <= {None, "ann"} else set())


def place_of(recipe: Recipe) -> dict[str, str]:
    """Where a training runs, and in which precision."""
    device = choose_device(recipe.device)
    precision = best_precision(device) if recipe.precision == "auto" else recipe.precision
    return {"device": device, "precision": precision}


def continued(path: Path, state: dict[str, Any], recipe: Recipe) -> dict[str, Any]:
    """A training's state under a recipe that may have changed in what may change; says so.

    Raises:
        RecipeError: it says fewer steps than the stage in progress has taken.
    """
    before, stage, step = state["recipe"], state["stage"], state["step"]
    if stage not in {None, *state["finished"]} and step > recipe.steps_of(stage):
        key = recipe.steps_key_of(stage)
        raise RecipeError(
            f"{key}: found {recipe.steps_of(stage)}, the training in {path} has taken {step} steps "
            f"of {stage!r}; set {key} = {step} to end it there, or more"
        )
    if before.get("device") != recipe.device:
        state |= place_of(recipe)
    for stage in state["finished"]:
        taken = len(state["losses"].get(stage, ()))
        if taken != recipe.steps_of(stage):
            warn(f"the {stage!r} network was finished after {taken} steps and stays as it is; the "
                 f"recipe now says {recipe.steps_of(stage)}")  # fmt: skip
    return {**state, "recipe": recipe.to_dict()}


def save_state(path: Path, state: dict[str, Any]) -> None:
    write_atomically(path, lambda file: torch.save(state, file))


def save_losses(out: Path, losses: dict[str, list[float]]) -> None:
    """Loss of every step so far, as CSV beside the result."""
    rows = ["stage,step,loss"]
    for stage, values in losses.items():
        rows += [f"{stage},{step},{loss!r}" for step, loss in enumerate(values, 1)]
    text = "\n".join(rows) + "\n"
    write_atomically(beside(out, ".losses.csv"), lambda file: file.write(text.encode()))


def check_same_recipe(path: Path, found: object, recipe: Recipe, free: Collection[str]) -> None:
    """CheckpointError that names the keys in which the file's recipe differs, but `free` ones."""
    if not isinstance(found, dict):
        raise CheckpointError(f"{path}: holds no recipe; choose another output with -o")
    wanted, held = recipe.to_dict(), recipe_from_dict(found, str(path)).to_dict()
    keys = (wanted.keys() | held.keys()) - set(free)
    differing = sorted(key for key in keys if wanted.get(key) != held.get(key))
    if differing:
        raise CheckpointError(
            f"{path}: comes from another recipe (it differs in {', '.join(differing)}); "
            "choose another output with -o, or delete the file to start again"
        )
