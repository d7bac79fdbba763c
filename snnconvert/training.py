"""One loop for every stage: float first, then quantised from the float weights.

A step depends on the recipe, the stage and the step's number alone (its random numbers are seeded
by them), so a killed training resumes bit for bit from its last state.
"""

from __future__ import annotations

import copy
import math
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from tqdm import tqdm

import snnconvert
from snnconvert.checkpoint import (
    check_destination,
    read_checkpoint,
    save_checkpoint,
)
from snnconvert.conversion.calibrate import relu_ceilings
from snnconvert.datasets import DATASETS, Images
from snnconvert.datasets.images import to_unit_range
from snnconvert.datasets.order import step_indices
from snnconvert.diffusion.objectives import noise_loss, noised_batch
from snnconvert.diffusion.sampling import sample
from snnconvert.diffusion.schedule import Schedule
from snnconvert.errors import DataError
from snnconvert.hardware import best_memory_format, choose_device
from snnconvert.models.unet import UNet
from snnconvert.pictures import grid, save_png
from snnconvert.randomness import stream_seed
from snnconvert.recipe import Recipe
from snnconvert.training_state import beside, check_same_recipe, load_state, save_state

PROBES = 256  # held-out images that travel in the checkpoint
CALIBRATION_BATCHES = 8
SMALLEST_CEILING = 1e-4  # a ceiling that learns its way to zero would divide by it
STAGES = ("ann", "qann")


@dataclass
class Run:
    """What a training needs besides its state; rebuilt at every start."""

    recipe: Recipe
    images: Images
    schedule: Schedule
    device: str
    precision: str
    out: Path
    show: bool


def train(recipe: Recipe, out: str | Path, *, progress: bool = True) -> Path:
    """Train the float and then the quantised network of `recipe`; write both to `out`.

    A state to resume from lies beside it in `<stem>.train.pt` until the end; the same call again
    goes on from there. Sample grids go to `<stem>.samples/`.

    Raises:
        DataError: the images are missing or too small.
        CheckpointError: `out` or its training state belongs to another recipe.
        InputError: `out` cannot be written.
    """
    out = check_destination(out)
    if out.exists():
        check_same_recipe(out, read_checkpoint(out)["recipe"], recipe)
        return out
    source = DATASETS[recipe.dataset]
    state_path = beside(out, ".train.pt")
    state = load_state(state_path, recipe)
    run = Run(
        recipe=recipe,
        images=source(Path(recipe.data_root), recipe.image_size, True),
        schedule=Schedule.linear(recipe.diffusion_steps, recipe.beta_first, recipe.beta_last),
        device=choose_device(state["device"]),
        precision=state["precision"],
        out=out,
        show=progress,
    )
    torch.set_num_threads(state["threads"])  # the order of sums, hence the last bit
    for stage in STAGES if recipe.levels else STAGES[:1]:
        if stage not in state["finished"]:
            train_stage(run, stage, state, state_path)
    save_result(run, state, source(Path(recipe.data_root), recipe.image_size, False))
    state_path.unlink(missing_ok=True)
    return out


def train_stage(run: Run, stage: str, state: dict[str, Any], state_path: Path) -> None:
    """Run `stage` from where `state` left it to its end; afterwards its average is finished."""
    recipe = run.recipe
    network = build_network(run, stage, state["finished"].get("ann"))
    layout = best_memory_format(run.device, run.precision, state["threads"])
    network = network.to(run.device).to(memory_format=layout)
    average = copy.deepcopy(network).requires_grad_(False)
    rate = recipe.quantized_learning_rate if stage == "qann" else recipe.learning_rate
    optimizer = torch.optim.Adam(network.parameters(), rate, fused=True)
    if state["stage"] == stage:
        network.load_state_dict(state["network"])
        average.load_state_dict(state["average"])
        optimizer.load_state_dict(state["optimizer"])
    first = state["step"] if state["stage"] == stage else 0
    steps = recipe.quantized_steps if stage == "qann" else recipe.steps
    bar = tqdm(range(first, steps), initial=first, total=steps, desc=stage, disable=not run.show)
    smooth = None
    for step in bar:
        for group in optimizer.param_groups:
            group["lr"] = rate * rate_factor(recipe, step, steps)
        loss = train_step(run, stage, step, network, optimizer)
        update_average(average, network, min(recipe.ema, (1 + step) / (10 + step)))
        smooth = loss if smooth is None else 0.98 * smooth + 0.02 * loss
        bar.set_postfix(loss=f"{smooth:.4f}", refresh=False)
        done = step + 1
        if done % recipe.save_every == 0 or done == steps:
            state |= {
                "stage": stage,
                "step": done,
                "network": network.state_dict(),
                "average": average.state_dict(),
                "optimizer": optimizer.state_dict(),
            }
            if done == steps:
                state["finished"][stage] = average.state_dict()
            save_state(state_path, state)
        if recipe.sample_every and done % recipe.sample_every == 0:
            save_samples(run, average, f"{stage}-{done:07d}")


def build_network(run: Run, stage: str, float_state: dict[str, Tensor] | None) -> UNet:
    """A fresh float network, or the quantised one with float weights and calibrated ceilings."""
    recipe, channels = run.recipe, run.images.channels
    if stage == "ann" or float_state is None:
        torch.manual_seed(recipe.seed)
        return UNet(recipe.network(channels, 0))
    ann = UNet(recipe.network(channels, 0)).eval()
    ann.load_state_dict(float_state)
    qann = UNet(recipe.network(channels, recipe.levels))
    batches = []
    for number in range(CALIBRATION_BATCHES):
        rng = step_generator(recipe, "calibration", number)
        batches.append(noised_batch(batch_of(run, number, rng), run.schedule, rng)[:2])
    ceilings = relu_ceilings(ann, batches, recipe.levels, recipe.per_channel)
    qann.load_state_dict({**float_state, **{f"{k}.ceiling": v for k, v in ceilings.items()}})
    return qann


def train_step(
    run: Run, stage: str, step: int, network: nn.Module, optimizer: torch.optim.Optimizer
) -> float:
    """One optimiser step; returns the loss."""
    rng = step_generator(run.recipe, stage, step)
    noised = noised_batch(batch_of(run, step, rng), run.schedule, rng)
    x, t, eps = (value.to(run.device, non_blocking=True) for value in noised)
    torch.manual_seed(int(torch.randint(2**62, (), generator=rng)))  # for dropout
    network.train()
    with torch.autocast(run.device, torch.bfloat16, enabled=run.precision == "bfloat16"):
        loss = noise_loss(network, x, t, eps)
    optimizer.zero_grad()
    loss.backward()
    nn.utils.clip_grad_norm_(network.parameters(), run.recipe.grad_clip)
    optimizer.step()
    with torch.no_grad():
        for name, parameter in network.named_parameters():
            if name.endswith("ceiling"):
                parameter.clamp_(min=SMALLEST_CEILING)
    return loss.item()


def batch_of(run: Run, step: int, rng: torch.Generator) -> Tensor:
    """Clean images of one step in [-1, 1], mirrored at random where the recipe says so."""
    recipe = run.recipe
    indices = step_indices(recipe.seed, step, recipe.batch_size, len(run.images))
    images = to_unit_range(run.images.take(indices))
    if recipe.flip:
        mirrored = torch.rand(len(images), 1, 1, 1, generator=rng) < 0.5
        images = torch.where(mirrored, images.flip(-1), images)
    return images


def step_generator(recipe: Recipe, stage: str, step: int) -> torch.Generator:
    """The random numbers of one step, a function of seed, stage and step."""
    return torch.Generator().manual_seed(stream_seed(recipe.seed, step, stage))


def rate_factor(recipe: Recipe, step: int, steps: int) -> float:
    """Learning rate over its peak: linear warm-up, then cosine to zero or constant."""
    warm = min(1.0, (step + 1) / max(1, recipe.warmup))
    if recipe.decay == "constant":
        return warm
    return warm * 0.5 * (1 + math.cos(math.pi * step / steps))


def update_average(average: nn.Module, network: nn.Module, decay: float) -> None:
    """Exponential moving average of the weights; buffers (batch-norm statistics) are copied."""
    with torch.no_grad():
        torch._foreach_lerp_(list(average.parameters()), list(network.parameters()), 1 - decay)
        for mean, latest in zip(average.buffers(), network.buffers(), strict=True):
            mean.copy_(latest)


def save_samples(run: Run, network: nn.Module, name: str) -> None:
    """36 DDIM images of the averaged network as a grid beside the result."""
    folder = beside(run.out, ".samples")
    folder.mkdir(exist_ok=True)
    size = (run.images.channels, run.recipe.image_size, run.recipe.image_size)
    network.eval()
    images = sample(network, shape=(36, *size), solver="ddim", steps=min(50, len(run.schedule)),
                    seed=run.recipe.seed, schedule=run.schedule, clip=True)  # fmt: skip
    save_png(folder / f"{name}.png", grid(images.cpu()))


def save_result(run: Run, state: dict[str, Any], held_out: Images) -> None:
    """Write the finished networks, their probe images and where they come from."""
    recipe = run.recipe
    count = min(PROBES, len(held_out))
    if count == 0:
        raise DataError(f"{recipe.dataset}: has no held-out images")
    stored = torch.float16 if recipe.store == "float16" else torch.float32
    networks = {
        stage: {
            "config": recipe.network(
                run.images.channels, recipe.levels * (stage == "qann")
            ).to_dict(),
            "state": {
                k: v.to("cpu", stored if v.is_floating_point() else v.dtype)
                for k, v in weights.items()
            },
        }
        for stage, weights in state["finished"].items()
    }
    seen = {"ann": recipe.steps, "qann": recipe.quantized_steps}
    provenance = {
        "dataset": recipe.dataset,
        "training_images": len(run.images),
        "images_seen": {stage: seen[stage] * recipe.batch_size for stage in networks},
        "weights": f"exponential moving average, decay {recipe.ema}, kept in {recipe.store}",
        "device": run.device,
        "precision": run.precision,
        "seed": recipe.seed,
        "torch": str(torch.__version__),
        "snnconvert": snnconvert.__version__,
    }
    save_checkpoint(
        run.out,
        {
            "stage": list(networks)[-1],
            "networks": networks,
            "recipe": recipe.to_dict(),
            "probe": held_out.take(range(count)),
            "provenance": provenance,
        },
    )
