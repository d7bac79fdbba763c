"""The conversion by counts, and exported in onnxruntime, beside the float ANN in eager PyTorch.

    python benchmarks/exported_speed.py [--threads 2] [--batches 1 8 32] [--rounds 15]

Every round calls each network several times on end, as a sampler does, and takes the median of its
calls but the first: that one still finds another's weights in the cache, and onnxruntime's threads
spinning. In brackets: how many times as fast as the float ANN, the median of the rounds' ratios.
With one thread it is the processor's time that is measured, which others on the machine hardly
change; with several the time on the clock.
"""

from __future__ import annotations

import argparse
import platform
import tempfile
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path
from statistics import median

import torch

import snnconvert
from snnconvert.checkpoint.checkpoint import Checkpoint

FILE = Path(__file__).resolve().parent.parent / "checkpoints" / "fashion-unet.pt"
CALLS = 5  # measured in a round
Call = Callable[[], object]


def seconds(call: Call, clock: Callable[[], float]) -> float:
    start = clock()
    call()
    return clock() - start


def of_round(call: Call, clock: Callable[[], float]) -> float:
    """Milliseconds a call, in the midst of others of the same network."""
    return median([seconds(call, clock) for _ in range(1 + CALLS)][1:]) * 1e3


def processor() -> str:
    """Its name, where the system tells it."""
    lines = Path("/proc/cpuinfo").read_text().splitlines()
    named = (line.partition(":")[2].strip() for line in lines if line.startswith("model name"))
    return next(named, platform.processor())


@torch.no_grad()
def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--batches", type=int, nargs="+", default=[1, 8, 32])
    parser.add_argument("--rounds", type=int, default=15)
    args = parser.parse_args()
    torch.set_num_threads(args.threads)
    checkpoint = Checkpoint.read(FILE)
    ann, example = checkpoint.network("ann"), checkpoint.probe_batches(max(args.batches))[0]
    snn = snnconvert.convert(
        checkpoint.network("qann"), 4, firing="deferred", simulate="counts", example_inputs=example
    )
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "unet.onnx"
        print(snnconvert.export_onnx(snn, path, examples=[example], like=checkpoint))
        exported = snnconvert.load(path)
    clock = time.process_time if args.threads == 1 else time.perf_counter
    print(f"{processor()}, {args.threads} threads; median ms a call (times as fast)")
    for batch in args.batches:
        inputs = tuple(value[:batch] for value in example)
        networks = {"float ANN": ann, "SNN by counts": snn, "exported": exported}
        calls = [partial(network, *inputs) for network in networks.values()]
        rows = [[of_round(call, clock) for call in calls] for _ in range(args.rounds)]
        told = [
            f"{name} {median(row[i] for row in rows):.1f} ms "
            f"({median(row[0] / row[i] for row in rows):.2f})"
            for i, name in enumerate(networks)
        ]
        print(f"batch {batch}: {', '.join(told)}", flush=True)


if __name__ == "__main__":
    main()
