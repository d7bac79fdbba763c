"""Training steps in float32 and bfloat16, contiguous and channels_last, side by side.

    OMP_NUM_THREADS=1 python benchmarks/training_speed.py recipes/*.toml

What `snnconvert/common/hardware.py` takes as given: speed over float32, contiguous (forward and
backward on random inputs, medians of rounds in which each runs once).
"""

from __future__ import annotations

import sys
import time
from statistics import median

import torch

from snnconvert.checkpoint.recipe import load_recipe

ROUNDS = 5
LAYOUTS = (torch.contiguous_format, torch.channels_last)
WAYS = [(dtype, layout) for dtype in (torch.float32, torch.bfloat16) for layout in LAYOUTS]
LARGEST = 4_000_000  # weights; larger recipes are left out


def seconds(network: torch.nn.Module, inputs: tuple, dtype: torch.dtype) -> float:
    """Of one forward and backward pass."""
    start = time.perf_counter()
    with torch.autocast("cpu", torch.bfloat16, enabled=dtype == torch.bfloat16):
        loss = network(*inputs).float().square().mean()
    loss.backward()
    return time.perf_counter() - start


def main() -> None:
    if {"-h", "--help"} & set(sys.argv):
        print(__doc__)
        return
    print("| recipe, stage | " + " | ".join(f"{str(d)[6:]}, {str(f)[6:]}" for d, f in WAYS) + " |")
    print("|---" * (len(WAYS) + 1) + "|")
    for path in sys.argv[1:]:
        recipe = load_recipe(path)
        stage, channels = recipe.stages[-1], 1 if recipe.dataset == "fashion-mnist" else 3
        networks = [recipe.family.build(recipe.network(channels, stage)).train() for _ in WAYS]
        if sum(p.numel() for p in networks[0].parameters()) > LARGEST:
            continue
        for network, (_, layout) in zip(networks, WAYS, strict=True):
            network.to(memory_format=layout)
        x = torch.randn(recipe.batch_size, channels, recipe.image_size, recipe.image_size)
        t = torch.randint(recipe.diffusion_steps, (recipe.batch_size,)).float()
        inputs = (x, t) if recipe.family.task == "noise" else (x,)
        times: list[list[float]] = [[] for _ in WAYS]
        for number in range(ROUNDS + 1):
            for found, network, (dtype, _) in zip(times, networks, WAYS, strict=True):
                took = seconds(network, inputs, dtype)
                if number:  # the first round warms up
                    found.append(took)
        base = median(times[0])
        cells = " | ".join(f"{base / median(found):.2f}" for found in times)
        print(f"| {path}, {stage} | {cells} |", flush=True)


if __name__ == "__main__":
    main()
