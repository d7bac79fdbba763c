"""How close a float denoiser stays to itself after conversion without retraining.

    python benchmarks/denoiser.py --rows 1 4 8
    python benchmarks/denoiser.py --rows 1 --weights blocks distilled

Calibrated on training images, noised with t over the whole diffusion; measured on the held-out
images in the checkpoint: relative error of the prediction against the float network, the same in
four quarters of t, and the denoising loss. One pass over counts equals the clocked network at
silence.
"""

from __future__ import annotations

import argparse
import time
import warnings
from pathlib import Path

import torch
from torch import Tensor, nn

import snnconvert
from snnconvert.checkpoint.checkpoint import Checkpoint
from snnconvert.checkpoint.schedules import schedule_of
from snnconvert.cli.arguments.calibration_argument import noised
from snnconvert.diffusion.objectives import noised_batch, prediction_loss, target_of
from snnconvert.images.datasets import DATASETS
from snnconvert.images.pixels import to_unit_range

ROOT = Path(__file__).resolve().parent.parent
BATCH = 64
QUARTERS = 4


def split(*values: Tensor) -> list[tuple[Tensor, ...]]:
    return list(zip(*(value.split(BATCH) for value in values), strict=True))


@torch.no_grad()
def measure(network: nn.Module, ann: nn.Module, held_out: list, longest: int) -> list[float]:
    """Relative error, its quarters over t, and the loss of the prediction."""
    squares, scales = torch.zeros(QUARTERS), torch.zeros(QUARTERS)
    loss = count = 0.0
    for x, t, target in held_out:
        wanted, found = ann(x, t), network(x, t)
        quarter = (t * QUARTERS / longest).long().clamp_(max=QUARTERS - 1)
        squares.index_add_(0, quarter, (found - wanted).square().flatten(1).sum(1))
        scales.index_add_(0, quarter, wanted.square().flatten(1).sum(1))
        loss += len(x) * float(prediction_loss(found, target))
        count += len(x)
    error = float((squares.sum() / scales.sum()).sqrt())
    return [error, *(squares / scales).sqrt().tolist(), loss / count]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--file", default=str(ROOT / "checkpoints" / "fashion-unet.pt"))
    parser.add_argument("--data", default="fashion-mnist", help="data set of the calibration")
    parser.add_argument("--data-root", type=Path, default=Path("data"))
    parser.add_argument("--inputs", type=int, default=1024, help="of the calibration")
    parser.add_argument("--timesteps", type=int, default=4)
    parser.add_argument("--codes", nargs="+", default=["rate", "radix"])
    parser.add_argument("--rows", type=int, nargs="+", default=[1], help="of tables over t")
    parser.add_argument("--weights", nargs="+", default=["kept"])
    parser.add_argument("--per-layer", action="store_true")
    args = parser.parse_args()
    warnings.simplefilter("ignore")
    checkpoint = Checkpoint.read(args.file)
    recipe, ann = checkpoint.recipe, checkpoint.network("ann")
    longest = recipe.diffusion_steps
    images = DATASETS[args.data](args.data_root, recipe.image_size, True)
    chosen = torch.randperm(len(images), generator=torch.Generator().manual_seed(0))[: args.inputs]
    clean = images.take(chosen.tolist())
    calibration = split(*noised(clean, recipe.image_size, schedule_of(recipe)))
    generator = torch.Generator().manual_seed(1)
    probe = to_unit_range(checkpoint.probe)
    schedule = schedule_of(recipe)
    x, t, eps = noised_batch(probe, schedule, generator, spread=True)
    held_out = split(x, t, target_of(recipe.prediction, probe, eps, schedule, t))
    print(
        "| network | error | t: "
        + " | ".join(f"{i}/{QUARTERS}" for i in range(1, QUARTERS + 1))
        + " | loss | seconds |"
    )
    print("|---" * (QUARTERS + 4) + "|")

    def row(name: str, network: nn.Module, seconds: float) -> None:
        numbers = [f"{n:.4f}" for n in measure(network, ann, held_out, longest)]
        print(f"| {name} | {' | '.join(numbers)} | {seconds:.0f} |", flush=True)

    row("float ANN", ann, 0)
    for code in args.codes:
        firing = "deferred" if code == "radix" else "immediate"
        for weights in args.weights:
            for rows in args.rows:
                start = time.perf_counter()
                snn = snnconvert.convert(
                    ann, args.timesteps, example_inputs=calibration[0], calibration=calibration,
                    simulate="counts", code=code, firing=firing, weights=weights,
                    thresholds_over_t=rows, per_channel=not args.per_layer,
                )  # fmt: skip
                seconds = time.perf_counter() - start
                row(f"{code}, weights {weights}, {rows} rows", snn, seconds)


if __name__ == "__main__":
    main()
