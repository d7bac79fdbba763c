"""One loop for every network and stage: float, then quantised from it; or spiking directly.

A step depends on the recipe, the stage and the step's number alone (its random numbers are seeded
by them), so a killed training resumes bit for bit from its last state. Under `torchrun` every
process takes its share of each batch.
"""

from __future__ import annotations

import time
from contextlib import nullcontext
from pathlib import Path
from typing import Any

import torch

from snnconvert.checkpoint.format import read_checkpoint
from snnconvert.checkpoint.recipe import Recipe, load_recipe
from snnconvert.common.processes import numbered, open_shard
from snnconvert.errors import InputError
from snnconvert.files.atomic import check_destination, clear_stale
from snnconvert.images.datasets import DATASETS
from snnconvert.images.pixels import Images, TensorImages
from snnconvert.training.interrupt import Interrupt, interruptible
from snnconvert.training.result import save_result
from snnconvert.training.run import TrainingRun
from snnconvert.training.stage import Stage
from snnconvert.training.state.damage import check_tensors
from snnconvert.training.state.images import seen_images
from snnconvert.training.state.state import WHERE, beside, check_same_recipe, load_state
from snnconvert.training.tasks import check_task_images


def train(
    recipe: Recipe | str | Path, out: str | Path, *, progress: bool = True,
    images: tuple[Images, Images] | None = None, stop_after: float | None = None,
) -> Path:  # fmt: skip
    """Train every stage of a recipe, or of the recipe in a file, and write the networks to `out`.

    A state to resume from lies beside it in `<stem>.train.pt` until the end; the same call again
    goes on from there. The loss of every step goes to `<stem>.losses.csv`, sample grids to
    `<stem>.samples/`.

    Args:
        images: to train on, and held-out ones, in place of the recipe's dataset.
        stop_after: seconds after which to save the state and stop (one process).

    Raises:
        RecipeError: a file that holds no recipe.
        Paused: after that time; the same call goes on from there.
        KeyboardInterrupt: after the step in which Ctrl-C came; the same call goes on from there.
        DivergedError: a loss or a weight is no finite number; the last state before it is kept.
        DataError: the images are missing, too few, too small or damaged, or lack labels.
        CheckpointError: `out`, its training state or `initial` does not fit the recipe.
        InputError: `out` cannot be written, or the processes do not divide the batch.
    """
    recipe = recipe if isinstance(recipe, Recipe) else load_recipe(recipe)
    out = check_destination(out)
    state_path = check_destination(beside(out, ".train.pt"))
    check_destination(beside(out, ".losses.csv"))
    clear_stale(beside(out, ".samples"))
    if out.exists():
        check_same_recipe(out, read_checkpoint(out)["recipe"], recipe, WHERE)
        state_path.unlink(missing_ok=True)  # of a run that was killed when all was done
        return out
    deadline = None if stop_after is None else time.monotonic() + stop_after
    state = load_state(state_path, recipe)
    check_share(recipe, numbered()[1])  # before they join: one that ends would take others along
    with open_shard(state["device"]) as shard:
        training, held_out = (recipe_images(recipe, images, part) for part in (True, False))
        show = progress and shard.rank == 0
        if "images" not in state:  # before every file is read
            check_task_images(recipe, training)
        state["images"] = seen_images(training, held_out, state.get("images"), state_path,
                                      classes=recipe.family.task == "classes",
                                      progress=show)  # fmt: skip
        check_task_images(recipe, training)  # after it is known that classes are those of before
        if isinstance(training, TensorImages) and shard.device.type == "cuda":
            training = training.to(shard.device)
        run = TrainingRun(recipe, training, shard, state["precision"], out, show)
        torch.set_num_threads(state["threads"])  # the order of sums, hence the last bit
        train_stages(run, state, state_path, deadline)
        if run.leads:
            ran = {"device": state["device"], "precision": run.precision, "processes": shard.size}
            save_result(out, recipe, state, training, held_out, ran)
            state_path.unlink(missing_ok=True)
    return out


def train_stages(
    run: TrainingRun, state: dict[str, Any], path: Path, deadline: float | None
) -> None:
    """Every stage that is not finished, in turn.

    Raises:
        KeyboardInterrupt: after the step in which Ctrl-C came; the state is saved.
        CheckpointError: the state holds other networks than the recipe's.
    """
    check_finished(run, state["finished"], path)
    with interruptible() if run.shard.size == 1 else nullcontext(Interrupt()) as interrupt:
        for stage in run.recipe.stages:
            if stage not in state["finished"]:
                Stage(run, stage, state, path).train(interrupt, deadline)


def check_finished(run: TrainingRun, finished: dict[str, Any], path: Path) -> None:
    """CheckpointError unless finished networks have the tensors that the recipe gives them."""
    for stage, weights in finished.items():
        with torch.device("meta"):  # shapes only
            network = run.recipe.family.build(run.recipe.network(run.images.channels, stage))
        check_tensors(path, "finished", weights, network)


def recipe_images(recipe: Recipe, given: tuple[Images, Images] | None, train: bool) -> Images:
    """Images to train on, or held-out ones: the `given`, or those of the recipe's dataset."""
    if given is not None:
        return given[0 if train else 1]
    return DATASETS[recipe.dataset](Path(recipe.data_root), recipe.image_size, train)


def check_share(recipe: Recipe, processes: int) -> None:
    """InputError unless the processes divide the batch evenly."""
    if recipe.batch_size % processes:
        raise InputError(
            f"batch_size: {recipe.batch_size} cannot be shared evenly by {processes} processes; "
            "start a number of processes that divides it, or change batch_size"
        )
