"""Times of float, quantised and spiking calls on a GPU: batch 1 and 256, eager and compiled.

    python benchmarks/gpu_timing.py [FILE] [--smoke]

Medians of one process, all networks in turn; ratios are over the eager float network of that batch.
"""

from __future__ import annotations

import argparse
import statistics
import time
import warnings
from collections.abc import Callable

import torch
from torch import Tensor

import snnconvert
from snnconvert.conversion.convert import convert

Call = Callable[[], object]


def milliseconds(calls: dict[str, Call], rounds: int, device: str) -> dict[str, float]:
    """Median time of each call, all in turn."""
    times: dict[str, list[float]] = {name: [] for name in calls}
    for number in range(rounds + 2):
        for name, call in calls.items():
            begun = time.perf_counter()
            call()
            if device == "cuda":
                torch.cuda.synchronize()
            if number > 1:  # the first two compile and warm up
                times[name].append(1e3 * (time.perf_counter() - begun))
    return {name: statistics.median(values) for name, values in times.items()}


def calls_for(networks: dict[str, torch.nn.Module], x: Tensor, t: Tensor, compiled: bool) -> dict:
    """What is timed: each network, compiled where that is possible at all."""
    calls: dict[str, Call] = {}
    for name, network in networks.items():
        call = network
        if compiled and name in ("float", "quantised"):
            call = torch.compile(network)
        elif compiled:
            continue  # the clock is a loop over states, which stays in Python
        calls[name] = lambda call=call: call(x, t)
    return calls


@torch.inference_mode()
def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("file", nargs="?", default="checkpoints/fashion-unet.pt")
    parser.add_argument("--smoke", action="store_true", help="small, on whatever is here")
    args = parser.parse_args()
    warnings.simplefilter("ignore")
    device = "cuda" if torch.cuda.is_available() else "cpu"
    kind = torch.cuda.get_device_name() if device == "cuda" else "CPU"
    size, channels = 32, snnconvert.load(args.file, "ann").config.in_channels
    example = (torch.randn(2, channels, size, size), torch.tensor([3.0, 700.0]))
    qann = snnconvert.load(args.file, "qann")
    networks = {
        "float": snnconvert.load(args.file, "ann"),
        "quantised": qann,
        "SNN until silence": convert(qann, timesteps=4, example_inputs=example),
        "SNN by counts": convert(qann, timesteps=4, example_inputs=example, simulate="counts"),
    }
    networks = {name: network.to(device) for name, network in networks.items()}
    print(f"{kind}, torch {torch.__version__}, {args.file}")
    print(f"{'batch':>5} {'mode':8} {'network':18} {'ms':>9} {'over float':>10}")
    for batch in (1, 8 if args.smoke else 256):
        x, t = torch.randn(batch, channels, size, size), torch.rand(batch) * 999
        x, t = x.to(device), t.to(device)
        base = None
        for compiled in (False,) if args.smoke else (False, True):
            calls = calls_for(networks, x, t, compiled)
            found = milliseconds(calls, 3 if args.smoke else 20, device)
            base = base or found["float"]
            for name, value in found.items():
                mode = "compiled" if compiled else "eager"
                print(f"{batch:5} {mode:8} {name:18} {value:9.3f} {value / base:10.2f}")


if __name__ == "__main__":
    main()
