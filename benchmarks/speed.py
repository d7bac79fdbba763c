"""Time and memory of spiking calls beside those of the ANN, in one run.

    python benchmarks/speed.py [--batch 32] [--rounds 15]

Time: every round runs each call in turn; the figures are medians of per-round ratios. Then one
`snnconvert convert` process: its wall time and peak memory. Then (`memory.py`) the peak memory of
calls at T = 4 and 64, each in a process of its own.
"""

from __future__ import annotations

import argparse
import copy
import resource
import subprocess
import sys
import tempfile
import time
import warnings
from collections.abc import Callable, Iterator
from pathlib import Path
from statistics import median

import torch
from memory import table
from torch import Tensor, nn

import snnconvert
from snnconvert.checkpoint.checkpoint import Checkpoint
from snnconvert.conversion.spiking.network import SpikingNetwork
from snnconvert.models.cnn import resnet20

ROOT = Path(__file__).resolve().parent.parent
FILE = str(ROOT / "checkpoints" / "fashion-unet.pt")
TIMESTEPS = 4
WARM_UP = 2  # rounds

Case = tuple[str, nn.Module, SpikingNetwork, tuple[Tensor, ...]]


def cases(batch: int) -> Iterator[Case]:
    """(name, float ANN, its conversion, inputs): the shipped U-Net, and a ResNet-20 twice.

    The ResNet's weights are random: a step takes the time that it takes with any others. Laid out
    channels_last, its conversion is too, and is compared with the ANN as it was.
    """
    checkpoint = Checkpoint.read(FILE)
    inputs = tuple(value[:batch] for value in checkpoint.probe_batches()[0])
    ann, qann = (checkpoint.network(stage) for stage in ("ann", "qann"))
    snn = snnconvert.convert(qann, TIMESTEPS, example_inputs=inputs, settle=0)
    yield "diffusion U-Net", ann, snn, inputs
    torch.manual_seed(0)
    x, ann = torch.randn(batch, 3, 32, 32), resnet20()
    how = {"example_inputs": x[:2], "calibration": [x[:16]], "settle": 0}
    yield "ResNet-20", ann, snnconvert.convert(ann, TIMESTEPS, **how), (x,)
    other = copy.deepcopy(ann).to(memory_format=torch.channels_last)
    yield "ResNet-20 in channels_last", ann, snnconvert.convert(other, TIMESTEPS, **how), (x,)


def seconds(call: Callable[[], object]) -> float:
    """Of one call, right after another one: neither pays for the memory that others gave back."""
    call()
    start = time.perf_counter()
    call()
    return time.perf_counter() - start


@torch.no_grad()
def ratios(case: Case, rounds: int) -> dict[str, tuple[float, float]]:
    """Per kind of call its time over the float and over the quantised ANN's."""
    _, ann, steps, inputs = case
    qann = steps.quantized_ann()
    counts = steps.with_config(settle=None, simulate="counts")
    silent = steps.with_config(settle=None)
    found: dict[str, list[tuple[float, float]]] = {}
    for number in range(rounds + WARM_UP):
        plain, rounded = seconds(lambda: ann(*inputs)), seconds(lambda: qann(*inputs))
        times = {
            "quantised ANN": rounded,
            "one real step": seconds(lambda: steps(*inputs)) / TIMESTEPS,
            "by counts": seconds(lambda: counts(*inputs)),
            "until silence": seconds(lambda: silent(*inputs)),
        }
        if number >= WARM_UP:
            for name, value in times.items():
                found.setdefault(name, []).append((value / plain, value / rounded))
    return {name: tuple(map(median, zip(*values, strict=True))) for name, values in found.items()}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--batch", type=int, default=32)
    parser.add_argument("--rounds", type=int, default=15)
    args = parser.parse_args()
    warnings.simplefilter("ignore")  # of the ResNet's few calibration inputs
    print(f"| T = {TIMESTEPS}, batch {args.batch} | over the float ANN | over the quantised ANN |")
    print("|---|---|---|")
    for case in cases(args.batch):
        for name, (plain, rounded) in ratios(case, args.rounds).items():
            print(f"| {case[0]}, {name} | {plain:.2f} | {rounded:.2f} |", flush=True)
    with tempfile.TemporaryDirectory() as folder:
        command = [sys.executable, "-m", "snnconvert", "convert", FILE, "--timesteps", "4",
                   "-o", f"{folder}/out.pt"]  # fmt: skip
        start = time.perf_counter()
        subprocess.run(command, check=True, capture_output=True)
        wall = time.perf_counter() - start
    peak = resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss / 2**20
    print(f"convert and report: {wall:.1f} s, {peak:.2f} GiB")
    table([TIMESTEPS, 64], batch=64)


if __name__ == "__main__":
    main()
