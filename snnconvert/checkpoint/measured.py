"""What Analytic-DPM needs to know of a network of a checkpoint, measured on real images."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from torch import Tensor, nn
from tqdm import tqdm

from snnconvert.checkpoint.checkpoint import Checkpoint
from snnconvert.checkpoint.networks import network_of
from snnconvert.checkpoint.schedules import schedule_hash
from snnconvert.common.checks import checked_integer
from snnconvert.common.hardware import checked_device
from snnconvert.diffusion.deviation import measure_correction
from snnconvert.diffusion.moments import eps_second_moment
from snnconvert.diffusion.sampling import allowed_batch
from snnconvert.diffusion.times import Range
from snnconvert.errors import CheckpointError, InputError
from snnconvert.files.fingerprint import fingerprint
from snnconvert.images.pixels import to_range
from snnconvert.images.sources import DatasetSource, open_source
from snnconvert.images.sources.interface import StoredSource

TIMES = 100  # diffusion steps measured, where there are so many


@dataclass(frozen=True)
class CleanImages:
    """Images to measure on: how many, a function (batch size, count) that yields uint8 batches."""

    count: int
    batches: Callable[[int, int], Iterator[Tensor]]
    name: str


def measured(
    checkpoint: Checkpoint, stage: str | None = None, *, data: str | None = None,
    data_root: str | Path | None = None, schedule: str | None = None, prediction: str | None = None,
    times: int | None = None, count: int | None = None, batch_size: int = 64, seed: int = 0,
    device: str = "auto", progress: bool = False, against: nn.Module | None = None,
    replace: bool = True, t_range: Range | None = None, arguments: Mapping[str, Any] | None = None,
    clip: bool = True,
) -> Checkpoint:  # fmt: skip
    """The checkpoint with the moments of one of its networks, default the most advanced.

    Args:
        against: a float network to hold it against: its correction instead.
        data, data_root: as `images_for`.
        schedule, prediction: where the file does not say.
        times: diffusion steps measured, linear between them; default 100, or all that there are.
        count: images; default all. batch_size: of a call. seed: of the noise.
        t_range, arguments: as `eps_second_moment`, where the file does not say.
        replace: whether a better measurement, or one on other images, may give way.
        clip: whether predicted data are kept in their range, as sampling then must do.

    Raises:
        InputError: a value out of range, images of another shape than the network takes, or a
            measurement that may not be replaced.
        CheckpointError: no such network, or no images to measure on.
    """
    stage, place = stage or checkpoint.stage, checked_device(device)
    prediction = checkpoint.predicts(prediction)
    noise = checkpoint.schedule(schedule)
    usual = min(TIMES, len(noise))
    calls = usual if times is None else checked_integer("times", times, 2, len(noise))
    network = network_of(checkpoint, stage).to(place)
    images = images_for(checkpoint, network, data, data_root)
    count = images.count if count is None else count
    if not 1 <= count <= images.count or batch_size < 1:
        raise InputError(
            f"count, batch size: found {count}, {batch_size}; allowed are 1 ... "
            f"{images.count} ({images.name}) and 1 and more"
        )
    batch_size = allowed_batch(network, batch_size)
    data_range = checkpoint.data_range
    clean = (to_range(pixels, data_range).to(place) for pixels in images.batches(batch_size, count))
    facts = {"images": count, "times": calls, "seed": seed, "data": images.name,
             "schedule": schedule_hash(noise), "prediction": prediction,
             "clip": data_range if clip else None}  # fmt: skip
    if not replace:
        held = checkpoint.moments.get(stage, {})
        refuse_worse(facts, held.get("correction") if against is not None else held, checkpoint)
    with tqdm(total=calls * -(-count // batch_size), unit="NFE", disable=not progress) as bar:
        how: dict[str, Any] = {"prediction": prediction, "clip": facts["clip"] or False,
                               "times": calls, "seed": seed, "on_call": bar.update,
                               "arguments": arguments,
                               "t_range": checkpoint.takes_times(t_range)}  # fmt: skip
        if against is None:
            curve = eps_second_moment(network, clean, noise, **how)
            return checkpoint.with_moment(stage, {"eps_second_moment": curve, **facts})
        found = measure_correction(network, against.to(place), clean, noise, **how)
    facts["network"] = fingerprint(checkpoint.entry(stage))
    entry = {"slope": found.slope, "mean": found.mean, "variance": found.variance, **facts}
    return checkpoint.with_moment(stage, {"correction": entry})


def refuse_worse(
    facts: dict[str, Any], held: dict[str, Any] | None, checkpoint: Checkpoint
) -> None:
    """InputError where what is held, of the same noise, is better or comes from other images."""
    if not held or any(held.get(key) != facts[key] for key in ("schedule", "prediction")):
        return
    if "clip" not in held or held["clip"] != facts["clip"]:
        return
    other = held.get("data") != facts["data"]
    if other or any(held.get(key, 0) > facts[key] for key in ("images", "times")):
        raise InputError(
            f"{checkpoint.source}: holds a measurement of {held.get('images')} images "
            f"({held.get('data')}) at {held.get('times')} times already; this one would be of "
            f"{facts['images']} ({facts['data']}) at {facts['times']}. Replace it with --force"
        )


def images_for(
    checkpoint: Checkpoint, network: nn.Module, data: str | None = None,
    data_root: str | Path | None = None,
) -> CleanImages:  # fmt: skip
    """Images to measure a network of a checkpoint on.

    Args:
        data: a data set, a folder or an `.npz`; default the training images of the recipe where
            `data_root` is given, else the held-out images in the checkpoint.
    """
    root = Path(data_root or "data")
    if data is not None:
        shape = checkpoint.image_shape(network)
        resized = shape[1] == shape[2] and not data.endswith(".npz")
        source = open_source(data, root, shape[1] if resized else None, 1 if shape[0] == 1 else 3)
        refuse_other_shape(f"--data {data}", source, shape)
        return CleanImages(len(source), source.batches, source.name)
    pixels = checkpoint.probe
    if checkpoint.has_recipe and data_root is not None:
        recipe = checkpoint.denoiser_recipe
        shape = checkpoint.image_shape(network)
        images = DatasetSource(recipe.dataset, "train", root, recipe.image_size, shape[0])
        refuse_other_shape(f"{recipe.dataset} of the recipe", images, shape)
        return CleanImages(len(images), images.batches, f"training images of {recipe.dataset}")
    if not checkpoint.has_recipe or pixels is None:
        raise CheckpointError(f"{checkpoint.source}: holds no images to measure on; give --data")

    def stored(batch_size: int, count: int) -> Iterator[Tensor]:
        yield from pixels[:count].split(batch_size)

    return CleanImages(len(pixels), stored, "held-out images of the checkpoint")


def refuse_other_shape(what: str, images: StoredSource, shape: tuple[int, ...]) -> None:
    """InputError unless images have the `shape` [C, H, W] that the network takes."""
    found = (images.channels, *images.image_size)
    if found != shape:
        raise InputError(
            f"{what}: found images of {list(found)}, the network takes {list(shape)} (channels, "
            "height, width); name images of that shape by --data"
        )
