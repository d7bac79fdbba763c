"""Images drawn from a diffusion checkpoint while they are evaluated."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

from torch import Tensor

from snnconvert.checkpoint.content import image_shape_of, schedule_hash
from snnconvert.checkpoint.networks import network_from
from snnconvert.common.hardware import checked_device
from snnconvert.conversion.spiking.network import SpikingNetwork
from snnconvert.diffusion.sampling import Plan
from snnconvert.errors import CheckpointError, InputError
from snnconvert.files.fingerprint import fingerprint
from snnconvert.generation.job import Job, draw
from snnconvert.generation.threshold_scale import scale_thresholds
from snnconvert.images.pixels import to_pixels
from snnconvert.models import SpikingUNet

PLAIN = (bool, int, float, str, list)


@dataclass(frozen=True)
class Drawing:
    """How images are drawn.

    Attributes:
        plan: checked, of the solver.
        batch_size: images per network call.
        threshold_scale: of a spiking network, see `snnconvert.guidance`.
    """

    plan: Plan
    seed: int = 0
    batch_size: int = 32
    threshold_scale: float = 1.0


class SampledSource:
    """Images of one network of a checkpoint, as 8-bit pixels: those of `snnconvert sample`.

    Args:
        content: of the checkpoint.
        path: its file, for errors and results.
        count: images to draw.
        stage: "ann", "qann", "snn" or "spiking"; default the most advanced.
        simulate: "counts" or "steps", of a converted network; default as in the file.
        device: where network and solver run; noise is drawn on the CPU everywhere.

    Raises:
        CheckpointError: no such stage, no known size, or images that Inception cannot see.
        InputError: `count`, seed or batch size out of range, or `simulate` for a network that does
            not spike.

    Attributes:
        on_call: called with the network evaluations so far, images times calls, after each call.
    """

    def __init__(
        self,
        content: dict[str, Any],
        path: str | Path,
        drawing: Drawing,
        count: int,
        stage: str | None = None,
        simulate: str | None = None,
        device: str = "cpu",
    ) -> None:
        self.path, self.drawing, self.count = Path(path), drawing, count
        self.stage = stage or content["stage"]
        self.network = network_from(content, self.stage, str(path))
        if simulate is not None:
            if not isinstance(self.network, SpikingNetwork):
                raise InputError(f"{path}: simulate applies to converted networks only")
            self.network = self.network.with_config(simulate=simulate).eval()
        if drawing.threshold_scale != 1:
            self.network = scale_thresholds(self.network, drawing.threshold_scale)
        self.device = checked_device(device)
        self.network.to(self.device)
        shape = image_shape_of(content, self.network, str(path))
        self.channels, self.image_size = shape[0], shape[1:]
        check_channels(self.channels, str(path))
        self.job = Job(self.network, drawing.plan, shape, count, drawing.seed, drawing.batch_size)
        self.evaluations = self.drawn = 0
        self.on_call: Callable[[int], object] | None = None
        with self.path.open("rb") as file:
            self.sha256 = hashlib.file_digest(file, "sha256").hexdigest()
        self.name = f"{path} ({self.stage}, {drawing.plan.solver}-{drawing.plan.calls})"

    def __len__(self) -> int:
        return self.count

    def batches(self, batch_size: int, count: int) -> Iterator[Tensor]:
        self.evaluations = self.drawn = 0
        for block in replace(self.job, count=count).blocks():
            images = draw(self.job, list(block), self._called)
            self.drawn += len(block)
            yield from to_pixels(images).cpu().split(batch_size)

    def _called(self, x: Tensor, _t: object, _x0: Tensor) -> None:
        self.evaluations += len(x)
        if self.on_call is not None:
            self.on_call(self.evaluations)

    @property
    def nfe(self) -> float:
        """Network evaluations per image, counted; a whole number for every fixed grid."""
        mean = self.evaluations / max(1, self.drawn)
        return int(mean) if mean.is_integer() else mean

    def facts(self) -> dict[str, Any]:
        plan, network = self.drawing.plan, self.network
        given = {**plan.options, **plan.corrections}
        options = {k: v if isinstance(v, PLAIN) else fingerprint(v) for k, v in given.items()}
        spiking = (
            asdict(network.config) if isinstance(network, SpikingNetwork | SpikingUNet) else None
        )
        return {
            "kind": "checkpoint", "source": str(self.path), "sha256": self.sha256,
            "stage": self.stage, "solver": plan.solver, "steps": plan.calls, "options": options,
            "schedule": schedule_hash(plan.schedule),
            "nfe": self.nfe, "seed": self.drawing.seed,
            "threshold_scale": self.drawing.threshold_scale, "image_size": list(self.image_size),
            "device": self.device.type, "spiking": spiking,
        }  # fmt: skip


def check_channels(channels: int, source: str) -> None:
    """CheckpointError unless Inception can see images of so many channels."""
    if channels not in (1, 3):
        raise CheckpointError(
            f"{source}: its images have {channels} channels; only grey and RGB images can be "
            "evaluated"
        )
