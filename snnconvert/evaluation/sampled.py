"""Images drawn from a diffusion checkpoint while they are evaluated."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterator, Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from torch import Tensor

from snnconvert.checkpoint import read_checkpoint
from snnconvert.conversion.network import SpikingNetwork
from snnconvert.datasets.images import to_pixels
from snnconvert.diffusion.sampling import sample
from snnconvert.errors import CheckpointError, InputError
from snnconvert.evaluation.features import checked_device
from snnconvert.loading import network_from
from snnconvert.probe import recipe_of, schedule_of

CHUNK = 128  # images per call of `sample`: what is held in memory, and part of the seeding
STRIDE = 1 << 16  # between the seeds of two chunks
CHUNKS = 1 << 15  # at most; larger seeds would leave the range that `sample` takes
PLAIN = (bool, int, float, str, list)


@dataclass(frozen=True)
class Drawing:
    """How images are drawn. `options` are the solver's own keywords."""

    solver: str = "ddim"
    steps: int = 50
    seed: int = 0
    batch_size: int = 32
    options: Mapping[str, Any] = field(default_factory=dict)


class SampledSource:
    """Images of one network of a checkpoint, as 8-bit pixels, in chunks of 128.

    Image i depends on the seed and on i alone, never on the batch size or the number of images;
    the first 128 are those of `snnconvert sample` with the same seed.

    Args:
        path: of the checkpoint.
        count: images to draw.
        stage: "ann", "qann" or "snn"; default the most advanced.
        simulate: "counts" or "steps", of a converted network; default as in the file.
        device: where the network runs. Noise and solver stay on the CPU, so that the same seed
            starts from the same noise everywhere.

    Raises:
        CheckpointError: no such file or stage, or no recipe.
        InputError: whatever `sample` would refuse (before anything is drawn), or `simulate` for a
            network that does not spike.

    Attributes:
        on_call: called with the network evaluations so far, images times calls, after each call.
    """

    def __init__(
        self,
        path: str | Path,
        drawing: Drawing,
        count: int,
        stage: str | None = None,
        simulate: str | None = None,
        device: str = "cpu",
    ) -> None:
        content = read_checkpoint(path)
        recipe = recipe_of(content, str(path))
        self.path, self.drawing, self.count = Path(path), drawing, count
        self.network = network_from(content, stage, str(path))
        if simulate is not None:
            if not isinstance(self.network, SpikingNetwork):
                raise InputError(f"{path}: simulate applies to converted networks only")
            self.network = self.network.with_config(simulate=simulate).eval()
        self.device = checked_device(device)
        self.network.to(self.device)
        self.stage = stage or content["stage"]
        self.channels = channels_of(content, str(path))
        self.image_size = (recipe.image_size, recipe.image_size)
        self.recipe, self.schedule = recipe, schedule_of(recipe)
        self.evaluations = self.drawn = 0
        self.on_call: Callable[[int], object] | None = None
        with Path(path).open("rb") as file:
            self.sha256 = hashlib.file_digest(file, "sha256").hexdigest()
        self.name = f"{path} ({self.stage}, {drawing.solver}-{drawing.steps})"
        if not 0 <= drawing.seed < STRIDE or count > CHUNKS * CHUNK:
            raise InputError(
                f"seed and samples: found {drawing.seed} and {count}, allowed are seeds "
                f"0 ... {STRIDE - 1} and at most {CHUNKS * CHUNK} images"
            )
        check_drawing(self)

    def __len__(self) -> int:
        return self.count

    def batches(self, batch_size: int, count: int) -> Iterator[Tensor]:
        self.evaluations = self.drawn = 0
        for first in range(0, count, CHUNK):
            number = min(CHUNK, count - first)
            images = draw(self._predict, self, first, number)
            self.drawn += number
            yield from to_pixels(images).split(batch_size)

    def _predict(self, x: Tensor, t: Tensor) -> Tensor:
        eps = self.network(x.to(self.device), t.to(self.device)).to(x.device)
        self.evaluations += len(x)
        if self.on_call is not None:
            self.on_call(self.evaluations)
        return eps

    @property
    def nfe(self) -> float:
        """Network evaluations per image, counted; a whole number for every fixed grid."""
        mean = self.evaluations / max(1, self.drawn)
        return int(mean) if mean.is_integer() else mean

    def facts(self) -> dict[str, Any]:
        how, network = self.drawing, self.network
        options = {k: v if isinstance(v, PLAIN) else repr(v) for k, v in how.options.items()}
        spiking = asdict(network.config) if isinstance(network, SpikingNetwork) else None
        return {
            "kind": "checkpoint", "source": str(self.path), "sha256": self.sha256,
            "stage": self.stage, "solver": how.solver, "steps": how.steps, "options": options,
            "nfe": self.nfe, "seed": how.seed, "image_size": list(self.image_size),
            "device": self.device.type, "spiking": spiking,
        }  # fmt: skip


def draw(
    network: Callable[[Tensor, Tensor], Tensor], source: SampledSource, first: int, number: int
) -> Tensor:
    """Images first ... first + number - 1, float32 [number, C, H, W]: the one call of `sample`."""
    how = source.drawing
    seed = how.seed + first // CHUNK * STRIDE
    return sample(
        network, shape=(source.channels, *source.image_size), count=number, seed=seed,
        solver=how.solver, steps=how.steps, schedule=source.schedule,
        batch_size=how.batch_size, **how.options,
    )  # fmt: skip


def check_drawing(source: SampledSource) -> None:
    """InputError for whatever would stop the drawing, found by a network that costs nothing."""

    def free(x: Tensor, t: Tensor) -> Tensor:
        return x.new_zeros(x.shape)

    how = source.drawing
    try:
        draw(free, source, 0, 1)
    except InputError:
        raise
    except (TypeError, ValueError, RuntimeError) as error:
        raise InputError(
            f"solver {how.solver!r} does not take {dict(how.options)}: {error}"
        ) from error


def channels_of(content: dict[str, Any], source: str) -> int:
    """Channels of the images in a checkpoint; CheckpointError unless Inception can see them."""
    probe = content["probe"]
    channels = probe.shape[1] if isinstance(probe, Tensor) and probe.ndim == 4 else None
    if channels not in (1, 3):
        raise CheckpointError(
            f"{source}: its images have {channels or 'an unknown number of'} channels; only grey "
            "and RGB images can be evaluated"
        )
    return channels
