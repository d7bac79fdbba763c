"""FID-768 of the shipped networks, quickly: Inception in bfloat16, the sampling in float32.

    python benchmarks/fid.py --data-root data [--count 2000] [--runs ddim:20 dpm-solver++:20]
    python benchmarks/fid.py --data-root data --networks "SDM's rule" native --count 500

Against 5,000 training images, whose statistics a file keeps from run to run. `snnconvert evaluate`
does the same in float32, several times as slowly on a processor with AMX. What the spiking networks
draw is what their quantised networks draw, to the bit, so those are sampled.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

import snnconvert
from snnconvert.checkpoint.checkpoint import Checkpoint
from snnconvert.evaluation.metrics.features import Inception
from snnconvert.evaluation.metrics.fid import frechet_distance
from snnconvert.evaluation.metrics.gaussian import Statistics, load_statistics
from snnconvert.evaluation.metrics.running_gaussian import RunningGaussian
from snnconvert.generation.image_plan import checkpoint_options
from snnconvert.images.datasets import DATASETS
from snnconvert.images.pixels import to_pixels

FOLDER = Path(__file__).resolve().parent.parent / "checkpoints"
REAL, DIMS, PART = 5000, 768, 100
SDM = {"norm": "per_step", "settle": 0}
Network = tuple[Checkpoint, str, Any, dict[str, Any]]  # of which file and stage, and options


def networks() -> dict[str, Callable[[], Network]]:
    """The rows of the table by name."""
    shipped = Checkpoint.read(FOLDER / "fashion-unet.pt")
    native = Checkpoint.read(FOLDER / "fashion-spiking.pt")

    def stage(name: str, **options: Any) -> Callable[[], Network]:
        return lambda: (shipped, name, shipped.network(name), options)

    def sdm() -> Network:
        qann, example = shipped.network("qann"), shipped.probe_batches(2)[0]
        return shipped, "qann", snnconvert.convert(qann, 4, example_inputs=example, **SDM), {}

    return {
        "float": stage("ann"),
        "rate": stage("qann"),
        "rate, corrected": stage("qann", corrected=True),
        "radix": stage("qann-radix"),
        "SDM's rule": sdm,
        "native": lambda: (native, "spiking", native.network(), {}),
    }


def drawn(network: Network, solver: str, steps: int, count: int) -> Iterator[Tensor]:
    """uint8 images [B, C, H, W] in parts."""
    checkpoint, stage, net, own = network
    options = checkpoint_options(checkpoint, stage, solver, None, None, dict(own))
    size = checkpoint.image_shape(net)
    for first in range(0, count, PART):
        images = snnconvert.sample(
            net, shape=(min(PART, count - first), *size), solver=solver, steps=steps, seed=first,
            schedule=checkpoint.schedule(), **options,
        )  # fmt: skip
        yield to_pixels(images)


def statistics(inception: Inception, parts: Iterator[Tensor], source: str) -> Statistics:
    """Mean and covariance of the features of images."""
    found = RunningGaussian(DIMS)
    for pixels in parts:
        with torch.autocast("cpu", dtype=torch.bfloat16):
            found.add(inception(pixels)[0].float().numpy())
    return Statistics(
        found.mean, found.covariance(), found.count, source, weights=inception.weights
    )


def real(inception: Inception, args: argparse.Namespace) -> Statistics:
    """Of training images, from the file where they are kept."""
    if args.statistics.exists():
        return load_statistics(args.statistics)
    images = DATASETS["fashion-mnist"](args.data_root, 32, True)
    order = torch.randperm(len(images), generator=torch.Generator().manual_seed(0))[:REAL]
    parts = (images.take(rows.tolist()) for rows in order.split(PART))
    kept = statistics(inception, parts, "fashion-mnist, bfloat16")
    kept.save(args.statistics)
    return kept


def main() -> None:
    rows = networks()
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--data-root", type=Path, default=Path("data"))
    parser.add_argument("--statistics", type=Path, default=Path("fashion768-bfloat16.npz"))
    parser.add_argument("--networks", nargs="+", choices=rows, default=["float", "rate", "radix"])
    parser.add_argument("--runs", nargs="+", default=["ddim:20", "dpm-solver++:20"])
    parser.add_argument("--count", type=int, default=2000)
    args = parser.parse_args()
    inception = Inception(DIMS)
    inception.deep.to(memory_format=torch.channels_last)
    wanted = real(inception, args)
    for name in args.networks:
        network = rows[name]()
        for run in args.runs:
            solver, _, steps = run.partition(":")
            found = statistics(inception, drawn(network, solver, int(steps), args.count), name)
            distance = frechet_distance(wanted, found)
            print(f"{name}, {run}, {args.count} images: FID-768 {distance:.3f}", flush=True)


if __name__ == "__main__":
    main()
