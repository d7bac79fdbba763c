"""What a checkpoint says beside its weights: recipe, schedule, images, moments."""

from __future__ import annotations

from functools import lru_cache
from typing import Any

import torch
from torch import Tensor, nn

from snnconvert.checkpoint.recipe import Recipe, recipe_from_dict
from snnconvert.conversion.spiking.network import SpikingNetwork
from snnconvert.diffusion.objectives import noised_batch
from snnconvert.diffusion.schedule import NoiseLevels, Schedule, named_schedule
from snnconvert.errors import CheckpointError, InputError
from snnconvert.files.fingerprint import fingerprint
from snnconvert.images.pixels import to_unit_range

BATCH = 32
linear_schedule = lru_cache(maxsize=4)(Schedule.linear)


def recipe_of(content: dict[str, Any], source: str) -> Recipe:
    """The recipe in a checkpoint's content; CheckpointError where it holds none."""
    if not content["recipe"]:
        raise CheckpointError(
            f"{source}: holds no recipe, so its schedule and image size are unknown; in Python, "
            "snnconvert.sample(snnconvert.load(FILE), shape=(B, C, H, W), schedule=...) takes them"
        )
    return recipe_from_dict(content["recipe"], source)


def denoiser_recipe_of(content: dict[str, Any], source: str) -> Recipe:
    """As `recipe_of`; CheckpointError too where it is no denoiser's."""
    recipe = recipe_of(content, source)
    if recipe.family.task != "noise":
        raise CheckpointError(
            f"{source}: holds a classifier ({recipe.model}); this needs a denoiser (x, t) -> noise"
        )
    return recipe


def schedule_for(content: dict[str, Any], source: str, named: str | None = None) -> Schedule:
    """The schedule that the network of a checkpoint was trained with; `named` if it does not say.

    Raises:
        InputError: no such schedule, or another one than the file's.
        CheckpointError: the file does not say, and none is named.
    """
    given = None if named is None else named_schedule(named)
    if not content["recipe"]:
        if given is None:
            raise CheckpointError(
                f"{source}: holds no recipe, so the noise it was trained with is unknown; give "
                "--schedule linear (DDPM's), cosine, or FIRST,LAST,STEPS"
            )
        return given
    own = schedule_of(denoiser_recipe_of(content, source))
    if given is not None and not torch.equal(given.alphas_cumprod, own.alphas_cumprod):
        raise InputError(
            f"--schedule: found {named}, but {source} was trained with another one; leave it out"
        )
    return own


def schedule_of(recipe: Recipe) -> Schedule:
    """The noise schedule that a recipe describes; every training step asks for it."""
    return linear_schedule(recipe.diffusion_steps, recipe.beta_first, recipe.beta_last)


def probe_batches(
    content: dict[str, Any], source: str, count: int | None = None, seed: int = 0
) -> list[tuple[Tensor, ...]]:
    """Arguments of network calls on held-out real images, shuffled.

    A denoiser gets (x_t, t), t spread evenly over the whole diffusion; a classifier (x,).

    Args:
        content: of a checkpoint; source: its name for errors.
        count: number of inputs, at most as many as the checkpoint holds; default all.

    Raises:
        CheckpointError: the checkpoint holds no recipe or no images.
    """
    recipe = recipe_of(content, source)
    pixels = content["probe"]
    if not isinstance(pixels, Tensor) or pixels.ndim != 4 or len(pixels) == 0:
        raise CheckpointError(f"{source}: holds no probe images to measure with")
    images = to_unit_range(pixels[:count])
    inputs: tuple[Tensor, ...] = (images,)
    generator = torch.Generator().manual_seed(seed)
    if recipe.family.task == "noise":
        inputs = noised_batch(images, schedule_of(recipe), generator, spread=True)[:2]
    order = torch.randperm(len(inputs[0]), generator=generator)
    return list(zip(*(value[order].split(BATCH) for value in inputs), strict=True))


def is_classifier(content: dict[str, Any], source: str) -> bool:
    """Whether a checkpoint's networks tell classes; without a recipe they do not."""
    return bool(content["recipe"]) and recipe_of(content, source).family.task == "classes"


def moment_of(
    content: dict[str, Any], stage: str, source: str, schedule: str | None, prediction: str
) -> Any:
    """The cached curve of a network, or CheckpointError that names the command to make it."""
    entry = content.get("moments", {}).get(stage)
    needed = "" if content["recipe"] else f" --schedule {schedule or 'SCHEDULE'} --data DATA"
    if prediction != "eps":
        needed += f" --prediction {prediction}"
    again = f"`snnconvert moments {source} --stage {stage}{needed}`"
    if not isinstance(entry, dict) or "eps_second_moment" not in entry:
        raise CheckpointError(
            f"{source}: holds no eps_second_moment of its {stage!r} network; measure it with "
            f"{again}"
        )
    if entry.get("schedule") not in (
        None, schedule_hash(schedule_for(content, source, schedule))
    ):  # fmt: skip
        raise CheckpointError(
            f"{source}: holds the eps_second_moment of its {stage!r} network under another "
            f"schedule; name that one, or measure again with {again}"
        )
    if (found := entry.get("prediction", "eps")) != prediction:
        raise CheckpointError(
            f"{source}: holds the eps_second_moment of its {stage!r} network as one that predicts "
            f"{found}, not {prediction}; measure again with {again}"
        )
    return entry["eps_second_moment"]


def schedule_hash(schedule: NoiseLevels) -> str:
    """A hash by which two drawings tell whether they followed one schedule."""
    known = schedule.alphas_cumprod if isinstance(schedule, Schedule) else vars(schedule)
    return fingerprint(known)


def image_shape_of(
    content: dict[str, Any], network: nn.Module, source: str
) -> tuple[int, int, int]:
    """[C, H, W] of the images that `network` of a checkpoint draws: as trained, or as captured.

    Raises:
        CheckpointError: the file does not say, or it is no network of images.
    """
    if content["recipe"]:
        size, probe = denoiser_recipe_of(content, source).image_size, content["probe"]
        if not isinstance(probe, Tensor) or probe.ndim != 4:
            raise CheckpointError(f"{source}: holds no probe images, so the image size is unknown")
        return probe.shape[1], size, size
    if not isinstance(network, SpikingNetwork):
        raise CheckpointError(f"{source}: holds no recipe, so the image size is unknown")
    signature = network.program.signature
    shapes = [signature.shapes[name] for name in network.program.inputs] if signature else []
    first = list(shapes[0]) if shapes else []
    if len(first) != 4 or len(shapes) != 2 or len(shapes[1]) != 1:
        raise CheckpointError(
            f"{source}: takes {len(shapes)} inputs, the first of {max(len(first), 1)} dimensions; "
            "images are drawn from (x [B, C, H, W], t [B]). In Python, "
            "snnconvert.sample(lambda x, t: ..., shape=...) takes any network"
        )
    return first[1], first[2], first[3]
