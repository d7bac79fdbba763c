"""Many images into a file or folder, block by block: bounded memory, any number of processes.

Image i depends on the seed and i alone, so blocks, processes and interruptions never show.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor, nn
from tqdm import tqdm

from snnconvert.common.checks import MOST, set_integers
from snnconvert.common.denoises import facts_of
from snnconvert.common.processes import WHOLE, Shard
from snnconvert.common.words import counted
from snnconvert.diffusion.noise import SampleNoise, image_seeds
from snnconvert.diffusion.sampling import Plan, allowed_batch, run
from snnconvert.errors import InputError
from snnconvert.files.atomic import check_destination
from snnconvert.images.outputs import FolderOutput, GridOutput, NpzOutput, Output
from snnconvert.images.pictures import tile
from snnconvert.images.pixels import UNIT_RANGE, in_unit_range, to_pixels

SUFFIXES: dict[str, type[GridOutput] | type[NpzOutput]] = {".png": GridOutput, ".npz": NpzOutput}
PATH_IMAGES, PATH_COLUMNS = 4, 10  # of the picture of the denoising path


@dataclass(frozen=True)
class Job:
    """What to generate."""

    network: nn.Module
    plan: Plan
    image_shape: tuple[int, int, int]  # [C, H, W]
    count: int
    seed: int = 0
    batch_size: int = 64

    def __post_init__(self) -> None:
        counted = ("count", "batch_size")
        set_integers(self, dict.fromkeys(counted, 1), most=dict.fromkeys(counted, MOST))
        image_seeds(self.seed, range(1))

    @property
    def data_range(self) -> tuple[float, float]:
        """(low, high) of the network's images: black and white."""
        found: tuple[float, float] = facts_of(self.network).get("data_range", UNIT_RANGE)
        return found

    @property
    def largest_block(self) -> int:
        """Images of one call: `batch_size`, or fewer where the network takes no more."""
        return allowed_batch(self.network, self.batch_size)

    def blocks(self) -> list[range]:
        """Image numbers, those of a call together."""
        size = self.largest_block
        return [range(i, min(i + size, self.count)) for i in range(0, self.count, size)]


def open_output(path: str | Path, job: Job, settings: dict[str, object]) -> Output:
    """Where images go, by the look of `path`: .png a grid, .npz an array, no suffix a folder.

    Raises:
        InputError: another suffix, no such parent folder, or a folder of other images.
    """
    text, path = str(path), Path(path)
    try:
        folder = text.endswith("/") or path.is_dir() or not path.suffix
    except OSError as error:
        raise InputError(f"{path}: cannot be written ({error.strerror})") from error
    if folder:
        return FolderOutput(path, job.count, job.image_shape, settings)
    if path.suffix.lower() not in SUFFIXES:
        raise InputError(
            f"{path}: allowed are .png (one picture), .npz (array `samples`), or a folder"
        )
    return SUFFIXES[path.suffix.lower()](check_destination(path), job.count, job.image_shape)


def generate(job: Job, output: Output, shard: Shard = WHOLE, *, progress: bool = True) -> int:
    """Draw the images of `job` that `output` lacks and add them; returns how many this drew.

    Every process of a sharded generation calls this with its own `shard`.
    """
    rounds = [job.blocks()[i : i + shard.size] for i in range(0, len(job.blocks()), shard.size)]
    mine = [blocks[shard.rank] if shard.rank < len(blocks) else range(0) for blocks in rounds]
    todo = [output.missing(block) for block in mine]
    shard.wait()  # before the first image is written, so that all see the same output
    total = job.plan.calls and job.plan.calls * sum(1 for block in todo if block)
    bar = tqdm(total=total, unit="NFE", disable=not progress or shard.rank > 0)
    with bar:
        for blocks, indices in zip(rounds, todo, strict=True):
            pixels = torch.zeros(0, *job.image_shape, dtype=torch.uint8)
            if indices:
                images = draw(job, indices, lambda *_: bar.update())
                pixels = to_pixels(images, job.data_range).cpu()
            if output.shared:
                output.add(indices, pixels)
                continue
            padded = torch.zeros(job.largest_block, *job.image_shape, dtype=torch.uint8)
            padded[: len(pixels)] = pixels
            for block, part in zip(blocks, shard.gather(padded), strict=False):
                output.add(list(block), part[: len(block)])
    shard.wait()
    if shard.rank == 0:
        output.close()
    return sum(map(len, todo))


def draw(job: Job, indices: list[int], on_call: Callable[..., object] | None = None) -> Tensor:
    """Images `indices` of the job, float32 [B, C, H, W]; InputError where they hold NaN."""
    noise = SampleNoise(image_seeds(job.seed, indices))
    device = next((p.device for p in job.network.state_dict().values()), torch.device("cpu"))
    noisiest = noise.normal(job.image_shape).to(device)
    result, _ = run(job.plan, job.network, noisiest, noise, on_call, indices)
    wrong = [i for i, bad in zip(indices, result.isnan().flatten(1).any(1), strict=True) if bad]
    if wrong:
        raise InputError(
            f"{counted(len(wrong), 'image')} of {len(indices)}, the first {wrong[0]}: NaN, "
            "which is no picture. `snnconvert check` says whether the weights hold NaN; what "
            "grows without end on the way is held by clip (--clip)"
        )
    return result


def trajectory(job: Job) -> Tensor:
    """A picture [C, height, width] of how the first images come out of the noise, left to right.

    Two rows an image: x_t, and below it the clean image that the network sees in it. The last
    column is the result.
    """
    rows, calls = min(PATH_IMAGES, job.count, job.largest_block), job.plan.calls
    even = [i / (PATH_COLUMNS - 1) for i in range(PATH_COLUMNS)]
    wanted = None if calls is None else {round(share * (calls - 1)) for share in even}
    numbers, path = itertools.count(), []

    def keep(x: Tensor, t: object, x0: Tensor) -> None:
        number = next(numbers)
        if len(x) == rows and (wanted is None or number in wanted):  # adaptive: while all move
            path.append((x.cpu(), x0.cpu()))

    result = draw(job, list(range(rows)), keep).cpu()
    if len(path) > PATH_COLUMNS:
        path = [path[round(share * (len(path) - 1))] for share in even]
    columns = [torch.stack(pair, dim=1).flatten(0, 1) for pair in [*path, (result, result)]]
    shown = in_unit_range(torch.stack(columns, dim=1).flatten(0, 1), job.data_range)
    return tile(shown, len(columns))
