"""What an evaluation is about and what it is held against, by the names that a user gives."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from torch import nn

from snnconvert.checkpoint.checkpoint import Checkpoint
from snnconvert.checkpoint.exported import open_checkpoint
from snnconvert.common.hardware import checked_device
from snnconvert.diffusion.sampling import plan
from snnconvert.diffusion.schedule import Schedule, named_schedule
from snnconvert.errors import InputError
from snnconvert.evaluation.metrics.gaussian import Statistics, holds_statistics, load_statistics
from snnconvert.evaluation.sampled import Drawing, SampledSource, simulated
from snnconvert.generation.image_plan import Grid, image_options, image_plan
from snnconvert.generation.threshold_scale import scale_thresholds
from snnconvert.images.datasets import DATASETS
from snnconvert.images.sources import Source, StoredSource, open_source
from snnconvert.models import MODELS

Reference = Statistics | StoredSource


def checkpoint_at(source: str | Path) -> Checkpoint | None:
    """The checkpoint that `source` names, None where it names images."""
    path = Path(source)
    if path.suffix == ".npz" or path.is_dir() or str(source).partition(":")[0] in DATASETS:
        return None
    return open_checkpoint(source)


def open_reference(
    data: str | Path, root: Path, image_size: int | None, like: Source | None = None
) -> Reference:
    """What --against names; a dataset comes in the size of the images that it is compared with."""
    data = str(data)
    if holds_statistics(data):
        return load_statistics(data)
    if Path(data).suffix == ".npz":
        return open_source(data, root)
    if data.partition(":")[0] in DATASETS and image_size is None and like is not None:
        image_size = max(like.image_size)
    return open_source(data, root, image_size)


def stored_images(
    source: str | Path, root: Path, image_size: int | None, drawing: dict[str, Any]
) -> StoredSource:
    """Finished images by name; InputError for options of a drawing that will not take place."""
    if drawing:
        option = next(iter(drawing)).replace("_", "-")
        raise InputError(f"{source}: holds finished images, --{option} applies to checkpoints only")
    return open_source(str(source), root, None if Path(source).suffix == ".npz" else image_size)


def drawn_images(
    checkpoint: Checkpoint, count: int | None, batch_size: int, device: str, *,
    stage: str | None = None, simulate: str | None = None, seed: int = 0,
    threshold_scale: float = 1.0, **choice: Any,
) -> SampledSource:  # fmt: skip
    """Images that a denoiser of a checkpoint draws, 10,000 by default; `choice` as `image_plan`."""
    chosen = image_plan(checkpoint, stage, **choice)
    drawing = Drawing(chosen, seed, batch_size, threshold_scale)
    count = 10_000 if count is None else count
    return SampledSource.of(checkpoint, drawing, count, stage, simulate, device)


def network_images(
    network: nn.Module, like: Reference, count: int | None, batch_size: int, device: str, *,
    simulate: str | None = None, seed: int = 0, threshold_scale: float = 1.0,
    solver: str = "dpm-solver++", steps: int = 20, grid: Grid = None,
    schedule: str | Schedule | None = None, **options: Any,
) -> SampledSource:  # fmt: skip
    """Images of a denoiser that comes from no file, in the shape of those that it is held against.

    Raises:
        InputError: a classifier, or images of unknown shape.
    """
    name = type(network).__name__
    if any(isinstance(network, f.network) and f.task != "noise" for f in MODELS.values()):
        raise InputError(f"{name}: is a classifier; give the checkpoint that holds it, or its file")
    schedule = named_schedule(schedule) if isinstance(schedule, str) else schedule
    chosen = plan(solver, steps, schedule, grid, **image_options(solver, options))
    network = simulated(network, simulate, name)
    if threshold_scale != 1:
        network = scale_thresholds(network, threshold_scale)
    shape = drawn_shape(network, like)
    drawing = Drawing(chosen, seed, batch_size, threshold_scale)
    origin = {"kind": "network", "source": name, "sha256": None, "stage": None}
    count = 10_000 if count is None else count
    return SampledSource(network.to(checked_device(device)), drawing, count, shape, origin)


def drawn_shape(network: nn.Module, like: Reference) -> tuple[int, int, int]:
    """[C, H, W] of the images that `network` draws to be held against `like`."""
    config = getattr(network, "config", None)  # of a converted network: says how it spikes alone
    channels = getattr(like, "channels", getattr(config, "in_channels", None))
    if channels is None or like.image_size == (0, 0):
        raise InputError(
            f"{type(network).__name__}: the shape of its images is unknown; hold it against images "
            "instead of statistics, or give the checkpoint that holds it"
        )
    return channels, *like.image_size
