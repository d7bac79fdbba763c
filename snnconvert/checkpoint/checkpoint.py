"""One object for what a file holds: networks, recipe, images, moments."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from snnconvert.checkpoint import CONVERTIBLE
from snnconvert.checkpoint.entries import network_in
from snnconvert.checkpoint.format import content_of_tensors, read_checkpoint, save_checkpoint
from snnconvert.checkpoint.recipe import Recipe, recipe_from_dict
from snnconvert.checkpoint.schedules import schedule_of
from snnconvert.common.inputs import inputs_of
from snnconvert.conversion.capture.captured import Captured
from snnconvert.conversion.capture.captured_network import CapturedNetwork
from snnconvert.conversion.capture.pt2 import read_pt2
from snnconvert.diffusion.objectives import noised_batch
from snnconvert.diffusion.schedule import Schedule, named_schedule
from snnconvert.diffusion.times import Range, agreed
from snnconvert.errors import CheckpointError, InputError
from snnconvert.images.pixels import UNIT_RANGE, to_unit_range

BATCH = 32


@dataclass(frozen=True, eq=False)
class Checkpoint:
    """What a file of snnconvert holds, read once and checked once: `Checkpoint.read(path)`.

    Attributes:
        content: with the keys of `checkpoint.format`; never modified.
        source: the path, or whatever else errors shall call it.
        exported: the network, where the file is a `.pt2`.
    """

    content: dict[str, Any]
    source: str = "checkpoint"
    exported: Captured | None = None

    @classmethod
    def read(cls, path: str | Path) -> Checkpoint:
        """What the file at `path` holds; of a `.pt2`, its network as the only one, an "ann".

        Raises:
            CheckpointError: it is none of ours and no `.pt2`, or damaged.
        """
        if str(path).endswith(".pt2"):
            network = read_pt2(path)
            return cls(content_of_tensors("ann", network.constants), str(path), network)
        return cls(read_checkpoint(path), str(path))

    def save(self, path: str | Path | None = None) -> None:
        """Write it atomically, by default to where it came from."""
        self.refuse_exported()
        save_checkpoint(path or self.source, self.content)

    def refuse_exported(self) -> None:
        """CheckpointError for a `.pt2`, which is read and never written."""
        if self.exported is not None:
            raise CheckpointError(
                f"{self.source}: is a .pt2, in which nothing can be kept; convert it first"
            )

    @property
    def path(self) -> Path:
        """`source` as a path."""
        return Path(self.source)

    # ---- networks

    @property
    def stage(self) -> str:
        """That of the most advanced network."""
        return str(self.content["stage"])

    @property
    def stages(self) -> tuple[str, ...]:
        """Of all networks inside."""
        return tuple(self.content["networks"])

    @property
    def convertible(self) -> str:
        """The most advanced stage that can be converted, the float one where there is none."""
        return next((s for s in reversed(CONVERTIBLE) if s in self.stages), CONVERTIBLE[0])

    def quantised_at(self, levels: int | None) -> str | None:
        """The stage of a quantised network of so many levels; None where there is none."""
        quantised = (s for s in CONVERTIBLE if s != "ann" and s in self.stages)
        found = {s: self.entry(s)["config"].get("levels") for s in quantised}
        return next((s for s, held in found.items() if held == levels), None)

    def entry(self, stage: str | None = None) -> dict[str, Any]:
        """The stored network of a stage, default the most advanced. CheckpointError if none is."""
        stage = stage or self.stage
        if stage not in self.stages:
            held = ", ".join(self.stages)
            raise CheckpointError(f"{self.source}: holds no {stage!r} network; it holds: {held}")
        return dict(self.content["networks"][stage])

    def network(self, stage: str | None = None) -> nn.Module:
        """A fresh network of a stage, default the most advanced, in evaluation mode.

        Raises:
            CheckpointError: the file holds no such stage, or its network is damaged.
        """
        entry = self.entry(stage)
        if self.exported is not None:
            return CapturedNetwork(self.exported).eval()
        return network_in(entry, stage or self.stage, self.source)

    # ---- what it was trained for

    @property
    def has_recipe(self) -> bool:
        """Whether it comes from a training of ours."""
        return bool(self.content["recipe"])

    @cached_property
    def recipe(self) -> Recipe:
        """The recipe of the training, checked once; CheckpointError where there is none."""
        if not self.has_recipe:
            raise CheckpointError(
                f"{self.source}: holds no recipe, so its schedule and image size are unknown; in "
                "Python, snnconvert.sample(snnconvert.load(FILE), shape=(B, C, H, W), "
                "schedule=...) takes them"
            )
        return recipe_from_dict(self.content["recipe"], self.source)

    @property
    def denoiser_recipe(self) -> Recipe:
        """As `recipe`; CheckpointError too where it is no denoiser's."""
        self.refuse_classifier()
        return self.recipe

    def refuse_classifier(self) -> None:
        """CheckpointError unless its networks are denoisers, as far as the file says."""
        if self.is_classifier:
            kind = self.recipe.model if self.has_recipe else f"of {self.input_shapes}"
            raise CheckpointError(
                f"{self.source}: holds a classifier ({kind}); this needs a denoiser (x, t) -> noise"
            )

    @cached_property
    def is_classifier(self) -> bool:
        """Whether its networks tell classes; where nobody said, whether they take no time."""
        if self.has_recipe:
            return self.recipe.family.task == "classes"
        takes = inputs_of(self.network())
        return "denoiser" not in self.content and bool(takes.shapes) and not takes.has_time

    @property
    def input_shapes(self) -> str:
        """Of its network's inputs, in words."""
        return inputs_of(self.network()).words

    @property
    def prediction(self) -> str | None:
        """What its denoisers predict, as the recipe or `convert` said; None: nobody did."""
        if self.has_recipe:
            return self.recipe.prediction
        said: str | None = self.content.get("denoiser", {}).get("prediction")
        return said

    def predicts(self, given: str | None = None) -> str:
        """What they predict, or `given`, or else "eps"; InputError if `given` contradicts."""
        own = self.prediction
        if own is None:
            return given or "eps"
        if given not in (None, own):
            raise InputError(
                f"prediction: found {given!r}, but {self.source} predicts {own}; leave it out"
            )
        return own

    def takes_times(self, given: Range | None = None) -> Range | None:
        """The times that its denoisers take, None: steps; InputError if `given` contradicts."""
        if not self.has_recipe:
            return agreed(self.content.get("denoiser", {}).get("t_range"), given, self.source)
        if given is not None:
            agreed((0.0, self.denoiser_recipe.diffusion_steps - 1.0), given, self.source)
        return None

    @property
    def data_range(self) -> Range:
        """(low, high) of the clean data of its denoisers; of images unless the file says else."""
        return self.content.get("denoiser", {}).get("data_range", UNIT_RANGE)  # type: ignore[no-any-return]

    def schedule(self, named: str | Schedule | None = None) -> Schedule:
        """The schedule that its networks were trained with; `named` if the file does not say.

        Raises:
            InputError: no such schedule, or another one than the file's.
            CheckpointError: the file does not say, and none is named.
        """
        given = named_schedule(named) if isinstance(named, str) else named
        kept = self.content.get("denoiser", {}).get("alphas_cumprod")
        if not self.has_recipe and kept is None:
            if given is None:
                self.refuse_classifier()
                raise CheckpointError(
                    f"{self.source}: holds no recipe, so the noise it was trained with is unknown; "
                    "give --schedule linear (DDPM's), cosine, or FIRST,LAST,STEPS"
                )
            return given
        own = schedule_of(self.denoiser_recipe) if self.has_recipe else Schedule(kept)
        if given is not None and not torch.equal(given.alphas_cumprod, own.alphas_cumprod):
            raise InputError(
                f"--schedule: found {named}, but {self.source} was trained with another one; "
                "leave it out"
            )
        return own

    # ---- images

    @property
    def probe(self) -> Tensor | None:
        """Held-out real images, uint8 [N, C, H, W], or None."""
        found: Tensor | None = self.content["probe"]
        return found

    def image_shape(self, network: nn.Module) -> tuple[int, int, int]:
        """[C, H, W] of the images that `network`, one of its own, draws: as trained or captured.

        Raises:
            CheckpointError: the file does not say, or it is no network of images.
        """
        if self.has_recipe:
            size = self.denoiser_recipe.image_size
            if self.probe is None:
                raise CheckpointError(
                    f"{self.source}: holds no probe images, so the image size is unknown"
                )
            return self.probe.shape[1], size, size
        shapes = inputs_of(network).shapes
        if shapes is None:
            raise CheckpointError(f"{self.source}: holds no recipe, so the image size is unknown")
        first = list(shapes[0]) if shapes else []
        if len(first) != 4 or not inputs_of(network).has_time:
            raise CheckpointError(
                f"{self.source}: takes {len(shapes)} inputs, the first of {max(len(first), 1)} "
                "dimensions; images are drawn from (x [B, C, H, W], t), a number each. In Python, "
                "snnconvert.sample(lambda x, t: ..., shape=...) takes any network"
            )
        return first[1], first[2], first[3]

    def sample_shape(self, network: nn.Module) -> tuple[int, ...]:
        """Shape of one sample of `network`: of an image, or as captured, of a vector too.

        Raises:
            CheckpointError: as `image_shape`, for what has no time or is a number a sample.
        """
        takes = inputs_of(network)
        if self.has_recipe or not takes.has_time or len((takes.shapes or [()])[0]) < 2:
            return self.image_shape(network)
        return tuple((takes.shapes or [()])[0][1:])

    def probe_batches(self, count: int | None = None, seed: int = 0) -> list[tuple[Tensor, ...]]:
        """Arguments of network calls on held-out real images, shuffled.

        A denoiser gets (x_t, t), t spread evenly over the whole diffusion; a classifier (x,).

        Args:
            count: number of inputs, at most as many as it holds; default all.

        Raises:
            CheckpointError: it holds no recipe or no images.
        """
        recipe = self.recipe
        if self.probe is None or len(self.probe) == 0:
            raise CheckpointError(f"{self.source}: holds no probe images to measure with")
        images = to_unit_range(self.probe[:count])
        inputs: tuple[Tensor, ...] = (images,)
        generator = torch.Generator().manual_seed(seed)
        if recipe.family.task == "noise":
            inputs = noised_batch(images, schedule_of(recipe), generator, spread=True)[:2]
        order = torch.randperm(len(inputs[0]), generator=generator)
        return list(zip(*(value[order].split(BATCH) for value in inputs), strict=True))

    # ---- moments

    @property
    def moments(self) -> dict[str, dict[str, Any]]:
        """What was measured of its networks, by stage; see `snnconvert moments`."""
        return dict(self.content.get("moments", {}))

    def with_moment(self, stage: str, entry: dict[str, Any]) -> Checkpoint:
        """The same with what was measured of one network, beside what is known of it already."""
        merged = {**self.moments.get(stage, {}), **entry}
        moments = {**self.moments, stage: merged}
        return Checkpoint({**self.content, "moments": moments}, self.source, self.exported)
