"""Peak memory: of calls at many timesteps over few, of `convert`, of a report over its inputs.

    python benchmarks/memory.py [--timesteps 4 64] [--batch 64]
    python benchmarks/memory.py --convert 500
    python benchmarks/memory.py --report 100 10000

Each figure is a process of its own. Of a ResNet-20 that converts and makes two calls, "whole" is
its peak, with Python and PyTorch; "call": what the calls added to it. With `--convert`, networks of
so many MB of weights are built and converted; the figure is all that this added to the process, the
network itself included. With `--report`, a small classifier of 32 x 32 images and its conversion
are reported on, page and advice included, by the command line in a process of its own, on so many
images each. Weights and images are random: memory does not depend on them.
"""

from __future__ import annotations

import argparse
import resource
import subprocess
import sys
import tempfile
import warnings
from pathlib import Path

import torch
from torch import nn

WAYS = {"immediate": "until silence", "deferred": "integrate, then fire"}


COMMAND_LINE = """
import resource, sys
from snnconvert.cli import main
code = main(sys.argv[1:])
print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**10)
sys.exit(code)
"""
WIDTH = 2048  # of the networks of --convert


def linear_layers(megabytes: int) -> tuple[nn.Module, torch.Tensor]:
    """Linear layers, whose weights a conversion takes as they are."""
    count = max(1, megabytes * 10**6 // (WIDTH * WIDTH * 4))
    layers = [m for _ in range(count) for m in (nn.Linear(WIDTH, WIDTH), nn.ReLU())]
    return nn.Sequential(*layers, nn.Linear(WIDTH, 10)), torch.randn(8, WIDTH)


def normed_convolutions(megabytes: int) -> tuple[nn.Module, torch.Tensor]:
    """Convolutions with batch norms, which are folded into new weights."""
    wide = WIDTH // 4
    count = max(1, megabytes * 10**6 // (wide * wide * 9 * 4))
    blocks = [
        m for _ in range(count)
        for m in (nn.Conv2d(wide, wide, 3, padding=1), nn.BatchNorm2d(wide), nn.ReLU())
    ]  # fmt: skip
    return nn.Sequential(*blocks, nn.Conv2d(wide, 10, 1)), torch.randn(8, wide, 4, 4)


BUILT = {"linear": linear_layers, "convolution and norm": normed_convolutions}


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


def measure_convert(kind: str, megabytes: int) -> None:
    """In a process of its own: prints weights, and the peak that network and conversion added."""
    import snnconvert

    warnings.simplefilter("ignore")
    small, x = BUILT[kind](0)
    snnconvert.convert(small, 8, example_inputs=x, calibration=[x])  # all that is imported
    before = peak()
    model, x = BUILT[kind](megabytes)
    snn = snnconvert.convert(model.eval(), 8, example_inputs=x, calibration=[x])
    snn(x)
    weights = sum(p.numel() * p.element_size() for p in model.parameters()) / 2**20
    print(weights, peak() - before)


def of_convert(megabytes: int) -> None:
    print("| network | weights, MiB | with its conversion, MiB | ratio |")
    print("|---|---|---|---|")
    for kind in BUILT:
        command = [sys.executable, __file__, "--one", kind, str(megabytes)]
        done = subprocess.run(command, check=True, capture_output=True, text=True)
        weights, added = map(float, done.stdout.split())
        print(f"| {kind} | {weights:.0f} | {added:.0f} | {added / weights:.2f} |", flush=True)


def small_classifier() -> nn.Module:
    """Of colour images of 32 x 32; the command line calls it by its name."""
    torch.manual_seed(0)
    return nn.Sequential(
        nn.Conv2d(3, 16, 3, padding=1), nn.ReLU(), nn.AvgPool2d(2),
        nn.Conv2d(16, 32, 3, padding=1), nn.ReLU(), nn.AvgPool2d(4), nn.Flatten(),
        nn.Linear(512, 64), nn.ReLU(), nn.Linear(64, 10),
    )  # fmt: skip


def of_reports(counts: list[int]) -> None:
    import snnconvert

    print("| `report` on | process, MiB | ratio |")
    print("|---|---|---|")
    first = 0.0
    images = torch.randn(max(counts), 3, 32, 32)
    with tempfile.TemporaryDirectory() as folder:
        snn = snnconvert.convert(
            small_classifier(), example_inputs=images[:2], calibration=[images[:64]]
        )
        snnconvert.save(snn, f"{folder}/net.snn.pt")
        for count in counts:
            torch.save(images[:count].clone(), f"{folder}/x.pt")
            command = [
                sys.executable, "-c", COMMAND_LINE, "report", "--model", "memory:small_classifier",
                f"{folder}/net.snn.pt", "--data", f"{folder}/x.pt", "--inputs", str(count),
                "--quiet",
            ]  # fmt: skip
            done = subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True,
                                  cwd=Path(__file__).parent)  # fmt: skip
            whole = float(done.stdout)
            first = first or whole
            print(f"| {count:,} images | {whole:.0f} | {whole / first:.2f} |", flush=True)


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
    parser.add_argument("--convert", type=int, metavar="MB", help="of weights, to convert")
    parser.add_argument("--report", type=int, nargs="+", metavar="IMAGES", help="inputs of reports")
    parser.add_argument("--one", nargs=2, help=argparse.SUPPRESS)
    args = parser.parse_args()
    if args.one and args.one[0] in BUILT:
        measure_convert(args.one[0], int(args.one[1]))
    elif args.convert:
        of_convert(args.convert)
    elif args.report:
        of_reports(args.report)
    elif args.one:
        measure(int(args.one[0]), args.one[1], args.batch)
    else:
        table(args.timesteps, args.batch)


if __name__ == "__main__":
    main()
