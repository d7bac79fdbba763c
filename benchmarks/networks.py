"""Error of converted networks of many kinds, by timesteps and code (random weights).

    python benchmarks/networks.py                 # all, the large ones too
    python benchmarks/networks.py vgg11_bn vit_b_16

Calibrated on the inputs it is measured on; the error is |snn - ann| / |ann| of all outputs.
"""

from __future__ import annotations

import copy
import sys
import time
import warnings
from pathlib import Path

import torch

import snnconvert
from snnconvert.conversion.graph.signature import arguments_of
from snnconvert.conversion.graph.values import leaves

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))
from examples.networks import FAST, SLOW

WAYS = [("rate", 8), ("rate", 32), ("rate", 128), ("radix", 4), ("radix", 8)]
FIRING = {"rate": "immediate", "radix": "deferred"}


def row(name: str) -> str:
    """The table's line of one network."""
    torch.manual_seed(0)
    model, inputs = {**FAST, **SLOW}[name]()
    args, kwargs = arguments_of(inputs)
    with torch.no_grad():
        wanted = leaves(copy.deepcopy(model).eval()(*args, **kwargs))
    errors, start = [], time.perf_counter()
    for code, timesteps in WAYS:
        snn = snnconvert.convert(  # neurons in the time paths of denoisers too
            model, timesteps, example_inputs=inputs, calibration=[inputs], simulate="counts",
            code=code, firing=FIRING[code],
            spiking_time=True,
        )  # fmt: skip
        run = snn.run(*args, **kwargs)
        pairs = zip(leaves(run.output), wanted, strict=True)
        gap = sum(float((a - b).square().sum()) for a, b in pairs)
        errors.append((gap / sum(float(b.square().sum()) for b in wanted)) ** 0.5)
    seconds = (time.perf_counter() - start) / len(WAYS)
    neurons = {key: value.numel() for key, value in run.counts.items()}
    plain = sum(n for key, n in neurons.items() if snn.functions[key] is None)
    share = plain / sum(neurons.values())
    cells = " | ".join(f"{error:.4f}" for error in errors)
    return f"| {name} | {cells} | {share:.0%} | {seconds:.0f} |"


def main() -> None:
    warnings.simplefilter("ignore")
    if {"-h", "--help"} & set(sys.argv):
        print(__doc__)
        return
    titles = [f"{code} T={timesteps}" for code, timesteps in WAYS]
    print("| network | " + " | ".join(titles) + " | plain IF | seconds |")
    print("|---" * (len(WAYS) + 3) + "|")
    for name in sys.argv[1:] or [*FAST, *SLOW]:
        print(row(name), flush=True)


if __name__ == "__main__":
    main()
