"""The native spiking U-Net against SDDPM's formulation on spikingjelly's layers.

    python benchmarks/native_speed.py [--channels 32 --mult 1,2,4 --blocks 1 --batch 16 --size 16]
    python benchmarks/native_speed.py --channels 128 --mult 1,2,2,4 --blocks 2 --batch 2 --size 32
    python benchmarks/native_speed.py --device cuda ...

Both have the same weights. Every round runs a training step and an inference call of each, in
turn, in one process; the printed figures are medians of per-round ratios. On a CPU, seconds are
processor time of one thread, so that neighbours on a shared machine disturb them less. Peak memory
is of a fresh process for each, which trains two steps.
"""

from __future__ import annotations

import argparse
import resource
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from statistics import median

import torch
from torch import nn

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from examples.plain_spiking_unet import plain_copy
from snnconvert.models import SpikingUNet

MIB = 2**20
NAMES = ("plain", "ours", "ours, checkpointing")


def networks(args: argparse.Namespace) -> dict[str, nn.Module]:
    torch.manual_seed(0)
    ours = SpikingUNet(
        args.timesteps, args.tsm, channels=args.channels, channel_mult=args.mult,
        blocks=args.blocks, backend=args.backend,
    )  # fmt: skip
    plain = plain_copy(ours, contiguous=True)
    lean = SpikingUNet.from_config(replace(ours.config, checkpointing=True))
    lean.load_state_dict(ours.state_dict())
    return {
        name: network.to(args.device)
        for name, network in zip(NAMES, (plain, ours, lean), strict=True)
    }


def calls(args: argparse.Namespace, network: nn.Module) -> dict[str, Callable[[], None]]:
    """A training step and an inference call, with or without bfloat16."""
    generator = torch.Generator().manual_seed(1)
    x = torch.randn(args.batch, 3, args.size, args.size, generator=generator).to(args.device)
    t = torch.randint(1000, (args.batch,), generator=generator).to(args.device)

    def predict() -> torch.Tensor:
        with torch.autocast(args.device, torch.bfloat16, enabled=args.bf16):
            return network(x, t)

    def step() -> None:
        network.train().zero_grad(set_to_none=True)
        (predict() - x).square().mean().backward()

    @torch.no_grad()
    def call() -> None:
        network.eval()
        predict()

    return {"training step": step, "inference call": call}


def seconds(args: argparse.Namespace, function: Callable[[], None]) -> float:
    clock = time.process_time if args.device == "cpu" else time.perf_counter
    start = clock()
    function()
    if args.device == "cuda":
        torch.cuda.synchronize()
    return clock() - start


def compare(args: argparse.Namespace) -> None:
    """Print seconds of each network and its speed relative to the plain one."""
    tasks = {name: calls(args, network) for name, network in networks(args).items()}
    for kind in ("training step", "inference call"):
        found: dict[str, list[float]] = {name: [] for name in tasks}
        for number in range(args.rounds + 1):
            for name, functions in tasks.items():
                taken = seconds(args, functions[kind])
                if number:  # the first round warms up
                    found[name].append(taken)
        for name, times in found.items():
            pairs = zip(found["plain"], times, strict=True)
            ratio = median(theirs / ours for theirs, ours in pairs)
            print(f"{kind}, {name}: {median(times):.3f} s, {ratio:.2f} times as fast as plain")


def peak(args: argparse.Namespace) -> float:
    """MiB that two training steps take above what was there before them, in this process."""
    step = calls(args, networks(args)[args.only])["training step"]
    if args.device == "cuda":
        torch.cuda.reset_peak_memory_stats()
        before = torch.cuda.memory_allocated()
    else:
        before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
    step()
    step()
    if args.device == "cuda":
        return (torch.cuda.max_memory_allocated() - before) / MIB
    return (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024 - before) / MIB


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--timesteps", type=int, default=4)
    parser.add_argument("--tsm", action="store_true")
    parser.add_argument("--channels", type=int, default=32)
    parser.add_argument(
        "--mult", type=lambda text: tuple(map(int, text.split(","))), default=(1, 2, 4)
    )
    parser.add_argument("--blocks", type=int, default=1)
    parser.add_argument("--batch", type=int, default=16)
    parser.add_argument("--size", type=int, default=16)
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--device", choices=["cpu", "cuda"], default="cpu")
    parser.add_argument("--backend", default="torch", help="neurons of ours")
    parser.add_argument("--bf16", action="store_true", help="autocast, for all networks")
    parser.add_argument("--only", help="(used by itself) measure the memory of this network")
    args = parser.parse_args()
    torch.set_num_threads(1)
    if args.only:
        print(f"{peak(args):.0f}")
        return
    for name in NAMES:  # first: a child's peak starts from what its parent has in memory
        command = [sys.executable, __file__, *sys.argv[1:], "--only", name]
        done = subprocess.run(command, check=True, capture_output=True, text=True)
        print(f"peak memory of training, {name}: {done.stdout.strip()} MiB")
    compare(args)


if __name__ == "__main__":
    main()
