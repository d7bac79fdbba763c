"""Peak memory of a converted ResNet-20 at many timesteps over that at few: state is streamed.

    python benchmarks/memory.py [--timesteps 4 64] [--batch 64]

Each figure is a process of its own that converts and makes two calls. "whole": its peak, with
Python and PyTorch; "call": what the calls added to it. The weights are random: memory does not
depend on them.
"""

from __future__ import annotations

import argparse
import resource
import subprocess
import sys
import warnings

import torch

WAYS = {"immediate": "until silence", "deferred": "integrate, then fire"}


def peak() -> float:
    """MiB, the most that this process has held so far."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**10


def measure(timesteps: int, firing: str, batch: int) -> None:
    """In a process of its own: prints its peak, and how much of it came with the calls."""
    import snnconvert
    from snnconvert.models.cnn import resnet20

    warnings.simplefilter("ignore")
    torch.manual_seed(0)
    x = torch.randn(batch, 3, 32, 32)
    snn = snnconvert.convert(
        resnet20(), timesteps, example_inputs=x[:2], calibration=[x[:8]], firing=firing
    )
    before = peak()
    for _ in range(2):
        snn(x)
    print(peak(), peak() - before)


def peaks(timesteps: int, firing: str, batch: int) -> tuple[float, float]:
    """(whole, call) in MiB of a fresh process."""
    command = [sys.executable, __file__, "--one", str(timesteps), firing, "--batch", str(batch)]
    whole, call = subprocess.run(command, check=True, capture_output=True, text=True).stdout.split()
    return float(whole), float(call)


def table(timesteps: list[int], batch: int) -> None:
    print(f"| ResNet-20, batch {batch} | T | whole, MiB | ratio | call, MiB | ratio |")
    print("|---|---|---|---|---|---|")
    for firing, meaning in WAYS.items():
        first: tuple[float, float] | None = None
        for steps in timesteps:
            whole, call = found = peaks(steps, firing, batch)
            first = first or found
            print(
                f"| {firing}, {meaning} | {steps} | {whole:.0f} | {whole / first[0]:.3f} "
                f"| {call:.0f} | {call / first[1]:.3f} |",
                flush=True,
            )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--timesteps", type=int, nargs="+", default=[4, 64])
    parser.add_argument("--batch", type=int, default=64)
    parser.add_argument("--one", nargs=2, metavar=("T", "FIRING"), help=argparse.SUPPRESS)
    args = parser.parse_args()
    if args.one:
        measure(int(args.one[0]), args.one[1], args.batch)
    else:
        table(args.timesteps, args.batch)


if __name__ == "__main__":
    main()
