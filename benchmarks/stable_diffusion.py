"""Time and memory to check and convert a U-Net of Stable Diffusion 1.5's shape, random weights.

    python benchmarks/stable_diffusion.py [--width 0.25] [--latents 32]

At width 1 it has 860 M weights and takes latents of 64 x 64 and 77 words of text. It is checked,
calibrated on two inputs and converted (radix, T = 8, by counts); then the network and its spiking
one are each called on one input. Peaks are of the process's resident memory during each phase,
Python and PyTorch included (Linux counts them).
"""

from __future__ import annotations

import argparse
import time
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import diffusers
import torch
from torch import nn

import snnconvert
from snnconvert.conversion.graph.values import leaves

CHANNELS = (320, 640, 1280, 1280)
TEXT, WORDS = 768, 77
PROCESS = Path("/proc/self")


def resident_peak() -> float:
    """MiB, the most resident memory since the last `forget_peak`."""
    lines = (PROCESS / "status").read_text(encoding="ascii").splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith("VmHWM")) / 2**10


def forget_peak() -> None:
    (PROCESS / "clear_refs").write_text("5", encoding="ascii")


@contextmanager
def phase(name: str, weights: float | None = None) -> Iterator[None]:
    """Prints a row: seconds, peak and its ratio to the weights (MiB)."""
    forget_peak()
    began = time.perf_counter()
    yield
    peak = resident_peak()
    ratio = "" if weights is None else f"{peak / weights:.2f}"
    print(f"| {name} | {time.perf_counter() - began:.0f} | {peak:.0f} | {ratio} |", flush=True)


def unet(width: float, side: int) -> nn.Module:
    """`runwayml/stable-diffusion-v1-5`'s config, narrower."""
    channels = tuple(int(width * count) for count in CHANNELS)
    groups = next(count for count in (32, 16, 8, 4) if channels[0] % count == 0)
    torch.manual_seed(0)
    model: nn.Module = diffusers.UNet2DConditionModel(
        sample_size=side, block_out_channels=channels, norm_num_groups=groups,
        cross_attention_dim=TEXT, attention_head_dim=8,
    )  # fmt: skip
    return model.eval()


def inputs(side: int, rows: int) -> dict[str, torch.Tensor]:
    generator = torch.Generator().manual_seed(0)
    return {
        "sample": torch.randn(rows, 4, side, side, generator=generator),
        "timestep": torch.linspace(100.0, 900.0, rows),
        "encoder_hidden_states": torch.randn(rows, WORDS, TEXT, generator=generator),
    }


@torch.no_grad()
def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--width", type=float, default=1.0, help="of the channels, 1: as released")
    parser.add_argument("--latents", type=int, default=64, help="height and width")
    args = parser.parse_args()
    warnings.simplefilter("ignore")  # two inputs are too few to calibrate well
    print("| phase | seconds | peak, MiB | over the weights |\n|---|---|---|---|")
    with phase("imports"):
        call = inputs(args.latents, 2)
    with phase("network built"):
        model = unet(args.width, args.latents)
    weights = sum(p.numel() * p.element_size() for p in model.parameters()) / 2**20
    with phase("checked", weights):
        problems = snnconvert.check(model, call)
    with phase("converted", weights):
        snn = snnconvert.convert(
            model, 8, code="radix", simulate="counts", example_inputs=call, calibration=[call]
        ).eval()
    one = {name: value[:1] for name, value in call.items()}
    with phase("float network called", weights):
        wanted = leaves(model(**one))[0]
    with phase("spiking network called", weights):
        found = leaves(snn(**one))[0]
    count = sum(p.numel() for p in model.parameters())
    gap = float((found - wanted).norm() / wanted.norm())
    print(
        f"{count / 1e6:.0f} M weights, {weights:.0f} MiB; {len(problems)} problems; "
        f"{len(snn.layers)} layers of neurons; distance from the float network {gap:.4f}"
    )


if __name__ == "__main__":
    main()
