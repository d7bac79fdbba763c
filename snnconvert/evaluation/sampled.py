"""Images drawn from a denoiser while they are evaluated."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

from torch import Tensor, nn

from snnconvert.checkpoint.checkpoint import Checkpoint
from snnconvert.checkpoint.networks import network_of
from snnconvert.checkpoint.schedules import schedule_hash
from snnconvert.common.hardware import checked_device
from snnconvert.common.words import counted
from snnconvert.conversion.spiking.network import converted
from snnconvert.diffusion.sampling import Plan, device_of
from snnconvert.errors import CheckpointError
from snnconvert.files.fingerprint import fingerprint
from snnconvert.generation.job import Job, draw
from snnconvert.generation.threshold_scale import scale_thresholds
from snnconvert.images.pixels import to_pixels
from snnconvert.images.sources.interface import OnCall
from snnconvert.neurons.spiking import settings_of

PLAIN = (bool, int, float, str, list)


@dataclass(frozen=True)
class Drawing:
    """How images are drawn.

    Attributes:
        plan: checked, of the solver.
        batch_size: images per network call.
        threshold_scale: of a spiking network, see `generation.threshold_scale`.
    """

    plan: Plan
    seed: int = 0
    batch_size: int = 32
    threshold_scale: float = 1.0


class SampledSource:
    """Images of one network, as 8-bit pixels: those of `snnconvert sample`.

    Args:
        network: `(x, t) -> prediction`, on `device`.
        count: images to draw.
        shape: [C, H, W] of one.
        origin: what results say of the network: kind, source, sha256, stage.

    Raises:
        CheckpointError: images that Inception cannot see.
        InputError: `count`, seed or batch size out of range.
    """

    def __init__(
        self, network: nn.Module, drawing: Drawing, count: int, shape: tuple[int, int, int],
        origin: dict[str, Any],
    ) -> None:  # fmt: skip
        self.network, self.drawing, self.count, self.origin = network, drawing, count, origin
        self.channels, self.image_size = shape[0], shape[1:]
        check_drawable(self.channels, origin["source"])
        self.job = Job(network, drawing.plan, shape, count, drawing.seed, drawing.batch_size)
        self.evaluations = self.drawn = 0
        self.device = device_of(network)
        stage = f"{origin['stage']}, " if origin["stage"] else ""
        self.name = f"{origin['source']} ({stage}{drawing.plan.solver}-{drawing.plan.calls})"

    @classmethod
    def of(
        cls,
        checkpoint: Checkpoint,
        drawing: Drawing,
        count: int,
        stage: str | None = None,
        simulate: str | None = None,
        device: str = "cpu",
    ) -> SampledSource:
        """Images of a network of a checkpoint.

        Args:
            stage: of the network; default the most advanced.
            simulate: "counts" or "steps", of a converted network; default as in the file.
            device: where network and solver run; noise is drawn on the CPU everywhere.

        Raises:
            CheckpointError: no such stage, no known size, or images that Inception cannot see.
            InputError: a value out of range, or `simulate` for a network that does not spike.
        """
        stage, source = stage or checkpoint.stage, checkpoint.source
        network = simulated(network_of(checkpoint, stage), simulate, source)
        if drawing.threshold_scale != 1:
            network = scale_thresholds(network, drawing.threshold_scale)
        network.to(checked_device(device))
        shape = checkpoint.image_shape(network)
        origin = {"kind": "checkpoint", "source": source, "sha256": sha256_of(checkpoint.path),
                  "stage": stage}  # fmt: skip
        return cls(network, drawing, count, shape, origin)

    def __len__(self) -> int:
        return self.count

    def batches(
        self, batch_size: int, count: int, on_call: OnCall | None = None
    ) -> Iterator[Tensor]:
        self.evaluations = self.drawn = 0
        for block in replace(self.job, count=count).blocks():
            images = draw(self.job, list(block), partial(self._called, on_call))
            self.drawn += len(block)
            yield from to_pixels(images, self.job.data_range).cpu().split(batch_size)

    def _called(self, on_call: OnCall | None, x: Tensor, _t: object, _x0: Tensor) -> None:
        self.evaluations += len(x)
        if on_call is not None:
            on_call(self.evaluations)

    @property
    def nfe(self) -> float:
        """Network evaluations per image, counted; a whole number for every fixed grid."""
        mean = self.evaluations / max(1, self.drawn)
        return int(mean) if mean.is_integer() else mean

    def facts(self) -> dict[str, Any]:
        plan, network = self.drawing.plan, self.network
        options = {k: v if isinstance(v, PLAIN) else fingerprint(v) for k, v in plan.given.items()}
        return {
            **self.origin, "solver": plan.solver, "steps": plan.calls, "options": options,
            "schedule": schedule_hash(plan.schedule), "data_range": list(self.job.data_range),
            "nfe": self.nfe, "seed": self.drawing.seed,
            "threshold_scale": self.drawing.threshold_scale, "image_size": list(self.image_size),
            "device": self.device.type, "spiking": settings_of(network),
        }  # fmt: skip


def simulated(network: nn.Module, simulate: str | None, source: str) -> nn.Module:
    """A converted network simulated that way; None: as it is.

    Raises:
        InputError: a network that is not converted.
    """
    if simulate is None:
        return network
    snn = converted(network, f"{source}: simulate applies to converted networks only")
    return snn.with_config(simulate=simulate).eval()


def sha256_of(path: Path) -> str | None:
    """Of the file that a checkpoint was read from; None where it comes from none."""
    if not path.is_file():
        return None
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def check_drawable(channels: int, source: str) -> None:
    """CheckpointError unless Inception can see images of so many channels."""
    if channels not in (1, 3):
        raise CheckpointError(
            f"{source}: its images have {counted(channels, 'channel')}; only grey and RGB images "
            "can be evaluated"
        )
