"""One loop for every network and stage: float, then quantised from it; or spiking directly.

A step depends on the recipe, the stage and the step's number alone (its random numbers are seeded
by them), so a killed training resumes bit for bit from its last state. Under `torchrun` every
process takes its share of each batch.
"""

from __future__ import annotations

import copy
import math
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
import torch.distributed as dist
from torch import Tensor, nn
from torch.nn.parallel import DistributedDataParallel
from tqdm import tqdm

from snnconvert.checkpoint.format import read_checkpoint
from snnconvert.checkpoint.recipe import Recipe, load_recipe
from snnconvert.checkpoint.schedules import schedule_of
from snnconvert.common.hardware import best_memory_format
from snnconvert.common.processes import Shard, open_shard
from snnconvert.common.randomness import stream_seed
from snnconvert.diffusion.sampling import sample
from snnconvert.errors import InputError
from snnconvert.files.atomic import check_destination
from snnconvert.images.datasets import DATASETS, Images
from snnconvert.images.pictures import grid, save_png
from snnconvert.images.pixels import TensorImages
from snnconvert.training.averaging import settle_statistics, update_average
from snnconvert.training.ceilings import relu_ceilings
from snnconvert.training.descent import Descent
from snnconvert.training.initial import start_from
from snnconvert.training.result import save_result
from snnconvert.training.state import beside, check_same_recipe, load_state, save_losses, save_state
from snnconvert.training.synchronised import synchronised
from snnconvert.training.tasks import Batch, batch_of, check_images

CALIBRATION_BATCHES = 8
STATISTICS_BATCHES = 64  # that settle the batch norms of the averaged network
SHOWN_EVERY = 20  # steps between two readings of the loss, for each of which a GPU is waited for


@dataclass
class Run:
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


def train(recipe: Recipe | str | Path, out: str | Path, *, progress: bool = True) -> Path:
    """Train every stage of a recipe, or of the recipe in a file, and write the networks to `out`.

    A state to resume from lies beside it in `<stem>.train.pt` until the end; the same call again
    goes on from there. The loss of every step goes to `<stem>.losses.csv`, sample grids to
    `<stem>.samples/`.

    Raises:
        RecipeError: a file that holds no recipe.
        DataError: the images are missing or too small, or lack labels.
        CheckpointError: `out`, its training state or `initial` does not fit the recipe.
        InputError: `out` cannot be written, or the processes do not divide the batch.
    """
    recipe = recipe if isinstance(recipe, Recipe) else load_recipe(recipe)
    out = check_destination(out)
    if out.exists():
        check_same_recipe(out, read_checkpoint(out)["recipe"], recipe)
        return out
    source = DATASETS[recipe.dataset]
    state_path = beside(out, ".train.pt")
    state = load_state(state_path, recipe)
    with open_shard(state["device"]) as shard:
        check_share(recipe, shard)
        images = source(Path(recipe.data_root), recipe.image_size, True)
        check_images(recipe, images)
        if isinstance(images, TensorImages) and shard.device.type == "cuda":
            images = images.to(shard.device)
        run = Run(recipe, images, shard, state["precision"], out, progress and shard.rank == 0)
        torch.set_num_threads(state["threads"])  # the order of sums, hence the last bit
        for stage in recipe.stages:
            if stage not in state["finished"]:
                train_stage(run, stage, state, state_path)
        if run.leads:
            held_out = source(Path(recipe.data_root), recipe.image_size, False)
            ran = {"device": state["device"], "precision": run.precision, "processes": shard.size}
            save_result(out, recipe, state["finished"], images, held_out, ran)
            state_path.unlink(missing_ok=True)
    return out


def check_share(recipe: Recipe, shard: Shard) -> None:
    """InputError unless the processes divide the batch evenly."""
    if recipe.batch_size % shard.size:
        raise InputError(
            f"batch_size: {recipe.batch_size} cannot be shared evenly by {shard.size} processes; "
            "start a number of processes that divides it, or change batch_size"
        )


def train_stage(run: Run, stage: str, state: dict[str, Any], state_path: Path) -> None:
    """Run `stage` from where `state` left it to its end; afterwards its average is finished."""
    recipe, resumed = run.recipe, state["stage"] == stage
    network = build_network(run, stage, state["finished"], resumed)
    layout = best_memory_format(run.shard.device.type, run.precision)
    network = network.to(run.shard.device).to(memory_format=layout)
    average = copy.deepcopy(network).requires_grad_(False)
    teacher = None
    if recipe.levels_of(stage) and recipe.quantized_target == "ann":
        teacher = finished_ann(run, state["finished"]).to(memory_format=layout)
    if run.shard.size > 1:
        network = synchronised(network)
    quantised = recipe.levels_of(stage) > 0
    rate = recipe.quantized_learning_rate if quantised else recipe.learning_rate
    record = run.shard.device.type == "cuda" and run.shard.size == 1
    optimizer = optimizer_of(recipe, network, rate, record)
    if resumed:
        network.load_state_dict(state["network"])
        average.load_state_dict(state["average"])
        optimizer.load_state_dict(state["optimizer"])
        if record:
            for group in optimizer.param_groups:
                group["lr"] = torch.tensor(rate, device=run.shard.device)
    first = state["step"] if resumed else 0
    steps = recipe.steps_of(stage)
    descend = Descent(recipe, shared_by(run.shard, network), teacher, optimizer,
                      bfloat16=run.precision == "bfloat16", record=record)  # fmt: skip
    bar = tqdm(range(first, steps), initial=first, total=steps, desc=stage, disable=not run.show)
    pictured = recipe.sample_every if run.leads and recipe.family.task == "noise" else 0
    losses = state["losses"].setdefault(stage, [])
    unread: list[Tensor] = []
    for step in bar:
        unread.append(descend(batch_at(run, stage, step), rate * rate_factor(recipe, step, steps)))
        update_average(average, network, min(recipe.ema, (1 + step) / (10 + step)))
        done = step + 1
        if done == steps or done % min(SHOWN_EVERY, recipe.save_every) == 0:
            losses += read_losses(run, unread)
            recent = losses[-SHOWN_EVERY:]
            bar.set_postfix(loss=f"{sum(recent) / len(recent):.4f}", refresh=False)
        if run.leads and done % recipe.save_every == 0:
            losses += read_losses(run, unread)
            state |= {
                "stage": stage,
                "step": done,
                "network": network.state_dict(),
                "average": average.state_dict(),
                "optimizer": optimizer.state_dict(),
            }
            save_state(state_path, state)
            save_losses(run.out, state["losses"])
        if pictured and done % pictured == 0:
            save_samples(run, average, f"{stage}-{done:07d}")
    settle_statistics(average, drawn(run, "statistics", STATISTICS_BATCHES))
    state["finished"][stage] = average.state_dict()
    if run.leads:
        save_state(state_path, state)
        save_losses(run.out, state["losses"])


def shared_by(shard: Shard, network: nn.Module) -> nn.Module:
    """`network` with gradients averaged over the processes, where there are several."""
    if shard.size == 1:
        return network
    return DistributedDataParallel(network, broadcast_buffers=False)  # they are equal everywhere


def build_network(
    run: Run, stage: str, finished: dict[str, dict[str, Tensor]], resumed: bool
) -> nn.Module:
    """The network that a stage starts with: fresh, from `initial`, or from the stage before.

    A quantised one gets the float weights and calibrated ceilings.
    """
    recipe, channels = run.recipe, run.images.channels
    torch.manual_seed(recipe.seed)
    network = recipe.family.build(recipe.network(channels, stage))
    if resumed:
        return network
    levels = recipe.levels_of(stage)
    if not levels:
        return start_from(recipe.initial, network) if recipe.initial else network
    ann = finished_ann(run, finished)
    batches = drawn(run, "calibration", CALIBRATION_BATCHES)
    ceilings = relu_ceilings(ann, batches, levels, recipe.per_channel)
    network.load_state_dict({**finished["ann"], **{f"{k}.ceiling": v for k, v in ceilings.items()}})
    return network


def finished_ann(run: Run, finished: dict[str, dict[str, Tensor]]) -> nn.Module:
    """The float network that the stage before left."""
    recipe = run.recipe
    ann = recipe.family.build(recipe.network(run.images.channels, "ann")).eval()
    ann.load_state_dict(finished["ann"])
    return ann.requires_grad_(False).to(run.shard.device)


def drawn(run: Run, stream: str, count: int) -> Iterator[tuple[Tensor, ...]]:
    """Inputs of `count` batches from a stream of random numbers of their own."""
    for number in range(count):
        rng = step_generator(run.recipe, stream, number)
        yield batch_of(run.recipe, run.images, number, rng).to(run.shard.device).inputs


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


def batch_at(run: Run, stage: str, step: int) -> Batch:
    """This process's share of the batch of one step; seeds what dropout draws."""
    rng, shard = step_generator(run.recipe, stage, step), run.shard
    whole = batch_of(run.recipe, run.images, step, rng)
    torch.manual_seed(int(torch.randint(2**62, (), generator=rng)) + shard.rank)
    return whole.part(shard.rank, shard.size).to(shard.device)


def read_losses(run: Run, unread: list[Tensor]) -> list[float]:
    """The losses of whole batches; empties `unread`."""
    if not unread:
        return []
    values = torch.stack(unread)
    unread.clear()
    if run.shard.size > 1:
        dist.all_reduce(values)
    return [value / run.shard.size for value in values.tolist()]


def step_generator(recipe: Recipe, stage: str, step: int) -> torch.Generator:
    """The random numbers of one step, a function of seed, stage and step."""
    return torch.Generator().manual_seed(stream_seed(recipe.seed, step, stage))


def rate_factor(recipe: Recipe, step: int, steps: int) -> float:
    """Learning rate over its peak: linear warm-up, then cosine to zero or constant."""
    warm = min(1.0, (step + 1) / max(1, recipe.warmup))
    if recipe.decay == "constant":
        return warm
    return warm * 0.5 * (1 + math.cos(math.pi * step / steps))


def save_samples(run: Run, network: nn.Module, name: str) -> None:
    """36 DDIM images of the averaged network as a grid beside the result."""
    folder = beside(run.out, ".samples")
    folder.mkdir(exist_ok=True)
    schedule = schedule_of(run.recipe)
    size = (run.images.channels, run.recipe.image_size, run.recipe.image_size)
    network.eval()
    images = sample(network, shape=(36, *size), solver="ddim", steps=min(50, len(schedule)),
                    seed=run.recipe.seed, schedule=schedule, clip=True,
                    prediction=run.recipe.prediction)  # fmt: skip
    save_png(folder / f"{name}.png", grid(images.cpu()))
