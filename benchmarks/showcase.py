"""The shipped network and what became of it: energy in every way of counting, and its pictures.

    python benchmarks/showcase.py energy [--images 64]
    python benchmarks/showcase.py pictures [--images 64]

Energy is arithmetic at 45 nm (4.6 pJ a MAC, 0.9 pJ an addition), per image and call. Of pictures:
their mean, and high-frequency noise, the standard deviation of an image minus its 3 x 3 mean.
"""

from __future__ import annotations

import argparse
from pathlib import Path

import torch
import torch.nn.functional as F
from torch import Tensor

import snnconvert
from snnconvert.checkpoint.checkpoint import Checkpoint
from snnconvert.generation.image_plan import checkpoint_options
from snnconvert.report.measures.cost import PJ_PER_AC, PJ_PER_MAC, count_cost
from snnconvert.report.native import native_report
from snnconvert.report.trajectory import follow

FOLDER = Path(__file__).resolve().parent.parent / "checkpoints"
SOLVERS = {"DDIM-10": ("ddim", 10), "DDIM-20": ("ddim", 20), "DDIM-50": ("ddim", 50),
           "2M-20": ("dpm-solver++", 20)}  # fmt: skip


def noise_of(images: Tensor) -> float:
    """High-frequency noise of images [B, C, H, W] in [-1, 1]."""
    smooth = F.avg_pool2d(F.pad(images, (1, 1, 1, 1), mode="replicate"), 3, 1)
    return float((images - smooth).std())


def energy(checkpoint: Checkpoint, count: int) -> None:
    """The table of energies."""
    x, t = (torch.cat(part) for part in zip(*checkpoint.probe_batches(count), strict=True))
    rows: list[tuple[str, str, float, float | None]] = []
    base: dict[str, float] = {}
    ways = {
        "SNN, immediate, until silence": ("qann", {}),
        "SNN, deferred": ("qann", {"firing": "deferred"}),
        "SNN, radix": ("qann-radix", {"code": "radix"}),
    }
    for title, (stage, options) in ways.items():
        snn = snnconvert.convert(checkpoint.network(stage), 4, example_inputs=(x, t), **options)
        run = snn.run(x, t, record="counts")
        cost = count_cost(snn, (x, t), run)
        found = cost.to_dict(snn.config.levels)
        if not rows:
            base = found
            rows += [("ANN", "1", found["energy_ann_mj"], None),
                     ("quantised ANN, 4 levels", "1", found["energy_qann_mj"], None)]  # fmt: skip
        spikes = cost.acs / cost.spike_driven_macs
        steps = str(run.steps)
        if title.endswith("silence"):
            steps += f", mean {run.last_spikes.clamp(min=4).double().mean():.1f}"
            print(f"{found['spike_driven_fraction']:.2%} of the multiplications driven by spikes")
        rows.append((title, steps, found["energy_snn_mj"], spikes))
    qann = checkpoint.network("qann")
    snn = snnconvert.convert(qann, 4, example_inputs=(x, t))
    shape = (4, *checkpoint.image_shape(qann))
    path = follow(qann, snn, shape, solver="ddim", steps=50, schedule=checkpoint.schedule(),
                  prediction=checkpoint.prediction, clip=True)  # fmt: skip
    total = path["total"]["trajectory"]
    rows.append(("SNN, continuous run, DDIM-50", f"{total['clock_steps'] / path['nfe']:.1f}",
                 total["energy_mj"] / path["nfe"], None))  # fmt: skip
    for name in ("fashion-spiking", "fashion-spiking-tsm"):
        native = Checkpoint.read(FOLDER / f"{name}.pt")
        cost_of_native, _ = native_report(native.network(), [(x, t)])
        rows.append((f"native, {name}.pt", "4", cost_of_native["energy_snn_mj"], None))
    print("| network | clock steps | mJ | of the ANN | of the quantised ANN | spikes a synapse |")
    print("|---|---|---|---|---|---|")
    for title, steps, value, spikes in rows:
        print(f"| {title} | {steps} | {value:.3f} | {value / base['energy_ann_mj']:.2f} "
              f"| {value / base['energy_qann_mj']:.2f} "
              f"| {'-' if spikes is None else f'{spikes:.2f}'} |")  # fmt: skip
    bits = snn.config.levels.bit_length()
    quantised = min(PJ_PER_MAC, bits * PJ_PER_AC) / PJ_PER_AC
    print(f"break-even: {quantised:.1f} spikes a synapse against {bits}-bit activations, "
          f"{PJ_PER_MAC / PJ_PER_AC:.1f} against the ANN")  # fmt: skip


def pictures(checkpoint: Checkpoint, count: int) -> None:
    """The table of means and noises, of images from equal seeds."""
    example = checkpoint.probe_batches(2)[0]
    qann = checkpoint.network("qann")
    sdm = {"norm": "per_step", "settle": 0}
    networks = {
        "float": ("ann", checkpoint.network("ann"), {}),
        "4 levels = SNN, T = 4 rate": ("qann", qann, {}),
        "the same, corrected": ("qann", qann, {"corrected": True}),
        "15 levels = SNN, T = 4 radix": ("qann-radix", checkpoint.network("qann-radix"), {}),
        "SDM's rule": ("qann", snnconvert.convert(qann, 4, example_inputs=example, **sdm), {}),
    }
    real = checkpoint.probe.float() / 127.5 - 1
    print(f"held-out images: mean {float(real.mean()):.3f}, noise {noise_of(real):.3f}")
    print(f"| network | mean, DDIM-20 | noise, {' / '.join(SOLVERS)} |\n|---|---|---|")
    for title, (stage, network, own) in networks.items():
        found = {}
        for name, (solver, steps) in SOLVERS.items():
            options = checkpoint_options(checkpoint, stage, solver, None, None, dict(own))
            found[name] = snnconvert.sample(
                network, shape=(count, *checkpoint.image_shape(qann)), solver=solver, steps=steps,
                seed=0, schedule=checkpoint.schedule(), **options,
            ).clamp(-1, 1)  # fmt: skip
        noises = " / ".join(f"{noise_of(images):.3f}" for images in found.values())
        print(f"| {title} | {float(found['DDIM-20'].mean()):.3f} | {noises} |", flush=True)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("table", choices=("energy", "pictures"))
    parser.add_argument("--images", type=int, default=64)
    args = parser.parse_args()
    checkpoint = Checkpoint.read(FOLDER / "fashion-unet.pt")
    {"energy": energy, "pictures": pictures}[args.table](checkpoint, args.images)


if __name__ == "__main__":
    main()
