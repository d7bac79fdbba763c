"""Seconds of a spiking call over those of the quantised network's, side by side in one process.

    python benchmarks/speed.py [--batch 32] [--rounds 15]

Every round runs each call once, in turn; the printed figures are medians of per-round ratios.
Then one `snnconvert convert` process: its wall time and peak memory.
"""

from __future__ import annotations

import argparse
import resource
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from statistics import median

import torch

import snnconvert
from snnconvert.checkpoint import read_checkpoint
from snnconvert.loading import network_from
from snnconvert.probe import probe_batches

ROOT = Path(__file__).resolve().parent.parent
FILE = str(ROOT / "checkpoints" / "fashion-unet.pt")


def seconds(call) -> float:
    start = time.perf_counter()
    call()
    return time.perf_counter() - start


@torch.no_grad()
def ratios(batch: int, rounds: int) -> dict[str, float]:
    content = read_checkpoint(FILE)
    qann = network_from(content, "qann", FILE)
    inputs = tuple(value[:batch] for value in probe_batches(content, FILE)[0])
    steps = snnconvert.convert(qann, 4, example_inputs=inputs, settle=0)
    counts = steps.with_config(settle=None, simulate="counts")
    silent = steps.with_config(settle=None)
    found: dict[str, list[float]] = {"one real step": [], "by counts": [], "until silence": []}
    for number in range(rounds + 2):
        base = seconds(lambda: qann(*inputs))
        times = {
            "one real step": seconds(lambda: steps(*inputs)) / 4,
            "by counts": seconds(lambda: counts(*inputs)),
            "until silence": seconds(lambda: silent(*inputs)),
        }
        if number >= 2:  # the first rounds warm up
            for name, value in times.items():
                found[name].append(value / base)
    return {name: median(values) for name, values in found.items()}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--batch", type=int, default=32)
    parser.add_argument("--rounds", type=int, default=15)
    args = parser.parse_args()
    for name, ratio in ratios(args.batch, args.rounds).items():
        print(f"{name}: {ratio:.2f} quantised-ANN calls")
    with tempfile.TemporaryDirectory() as folder:
        command = [sys.executable, "-m", "snnconvert", "convert", FILE, "--timesteps", "4",
                   "-o", f"{folder}/out.pt"]  # fmt: skip
        wall = seconds(lambda: subprocess.run(command, check=True, capture_output=True))
    peak = resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss / 2**20
    print(f"convert and report: {wall:.1f} s, {peak:.2f} GiB")


if __name__ == "__main__":
    main()
