"""FID-768 of the shipped networks, quickly: Inception in bfloat16, the sampling in float32.

    python benchmarks/fid.py --data-root data [--count 2000] [--runs ddim:20 dpm-solver++:20]
    python benchmarks/fid.py --data-root data --networks "SDM's rule" native --count 500

Against 5,000 training images, whose statistics a file keeps from run to run. `snnconvert evaluate`
does the same in float32, which takes several times as long on a processor with AMX. What the
spiking networks draw is what their quantised networks draw, to the bit, so those are sampled.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

import snnconvert
from snnconvert.checkpoint.checkpoint import Checkpoint
from snnconvert.evaluation.metrics.cache import compute_statistics
from snnconvert.evaluation.metrics.features import Inception
from snnconvert.evaluation.metrics.fid import frechet_distance
from snnconvert.evaluation.metrics.gaussian import Statistics, load_statistics
from snnconvert.evaluation.sampled import Drawing, SampledSource
from snnconvert.generation.image_plan import image_plan
from snnconvert.images.sources import open_source

FOLDER = Path(__file__).resolve().parent.parent / "checkpoints"
REAL, DIMS, BATCH = 5000, 768, 100
SDM = {"norm": "per_step", "settle": 0}
Row = tuple[Checkpoint, str, nn.Module, dict[str, Any]]  # file, stage, network, options


class QuickInception(Inception):
    """Features computed in bfloat16."""

    def __init__(self) -> None:
        super().__init__(DIMS)
        self.deep.to(memory_format=torch.channels_last)

    def __call__(self, pixels: Tensor, classify: bool = False) -> tuple[Tensor, Tensor | None]:
        with torch.autocast("cpu", dtype=torch.bfloat16):
            features, classes = super().__call__(pixels, classify)
        return features.float(), classes


def rows() -> dict[str, Callable[[], Row]]:
    """What can be drawn from, by name."""
    shipped = Checkpoint.read(FOLDER / "fashion-unet.pt")
    native = Checkpoint.read(FOLDER / "fashion-spiking.pt")

    def of(stage: str, **options: Any) -> Callable[[], Row]:
        return lambda: (shipped, stage, shipped.network(stage), options)

    def sdm() -> Row:
        qann, example = shipped.network("qann"), shipped.probe_batches(2)[0]
        return shipped, "qann", snnconvert.convert(qann, 4, example_inputs=example, **SDM), {}

    return {
        "float": of("ann"),
        "rate": of("qann"),
        "rate, corrected": of("qann", corrected=True),
        "radix": of("qann-radix"),
        "SDM's rule": sdm,
        "native": lambda: (native, "spiking", native.network(), {}),
    }


def drawn(row: Row, name: str, solver: str, steps: int, count: int) -> SampledSource:
    """Images of a network, drawn as they are asked for."""
    checkpoint, stage, network, options = row
    plan = image_plan(checkpoint, stage, solver=solver, steps=steps, **options)
    origin = {"source": name, "stage": stage}
    shape = checkpoint.image_shape(network)
    return SampledSource(network, Drawing(plan, batch_size=BATCH), count, shape, origin)


def real(inception: Inception, data_root: Path, kept: Path) -> Statistics:
    """Of training images, from the file where they are kept."""
    if not kept.exists():
        source = open_source("fashion-mnist", data_root, 32)
        compute_statistics(source, inception, REAL, batch_size=BATCH).save(kept)
    return load_statistics(kept)


def main() -> None:
    named = rows()
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--data-root", type=Path, default=Path("data"))
    parser.add_argument("--statistics", type=Path, default=Path("fashion768-bfloat16.npz"))
    parser.add_argument("--networks", nargs="+", choices=named, default=["float", "rate", "radix"])
    parser.add_argument("--runs", nargs="+", default=["ddim:20", "dpm-solver++:20"])
    parser.add_argument("--count", type=int, default=2000)
    args = parser.parse_args()
    inception = QuickInception()
    wanted = real(inception, args.data_root, args.statistics)
    for name in args.networks:
        row = named[name]()
        for run in args.runs:
            solver, _, steps = run.partition(":")
            source = drawn(row, name, solver, int(steps), args.count)
            found = compute_statistics(source, inception, args.count, batch_size=BATCH)
            distance = frechet_distance(wanted, found)
            print(f"{name}, {run}, {args.count} images: FID-768 {distance:.3f}", flush=True)


if __name__ == "__main__":
    main()
