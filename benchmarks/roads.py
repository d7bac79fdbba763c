"""The two roads of SDM side by side: a converted network, and one that was trained spiking.

    python benchmarks/roads.py [--images 64]

Weights, clock steps, energy and time of an image and call, on the same real noised inputs; all
networks are timed in turn in one process. Energies are arithmetic (45 nm), see
docs/explanation/energy.md.
"""

from __future__ import annotations

import argparse
from pathlib import Path

import torch
from torch import nn

import snnconvert
from snnconvert.checkpoint.checkpoint import Checkpoint
from snnconvert.report.measures.cost import count_cost
from snnconvert.report.measures.timing import seconds_per_call
from snnconvert.report.native import native_report
from snnconvert.report.show.columns import columns

FOLDER = Path(__file__).resolve().parent.parent / "checkpoints"
TIMED = 16


def weights_of(network: nn.Module) -> float:
    """Millions of trained numbers."""
    return sum(value.numel() for value in network.parameters()) / 1e6


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--images", type=int, default=64, help="noised inputs (default 64)")
    args = parser.parse_args()
    torch.set_num_threads(1)
    file = FOLDER / "fashion-unet.pt"
    batches = Checkpoint.read(file).probe_batches(args.images)
    x, t = (torch.cat(values) for values in zip(*batches, strict=True))
    qann = snnconvert.load(file)
    clocked = snnconvert.convert(qann, 4, example_inputs=(x, t))
    counted = clocked.with_config(simulate="counts")
    native = {
        name: snnconvert.load(FOLDER / f"{name}.pt")
        for name in ("fashion-spiking", "fashion-spiking-tsm")
    }
    timed = seconds_per_call(
        {"qann": qann, "clocked": clocked, "counted": counted, **native}, (x[:TIMED], t[:TIMED]), {}
    )
    run = clocked.run(x, t, record="counts")
    energy = count_cost(clocked, (x, t), run).to_dict(4)
    rows = [["network", "M weights", "steps", "mJ", "ms"]]

    def row(name: str, weights: float, steps: int, energy: float, seconds: float) -> None:
        ms = 1000 * seconds / TIMED
        rows.append([name, f"{weights:.2f}", str(steps), f"{energy:.3f}", f"{ms:.1f}"])

    weights = weights_of(qann)
    row("quantised ANN", weights, 1, energy["energy_qann_mj"], timed["qann"])
    row("converted, clock running", weights, run.steps, energy["energy_snn_mj"], timed["clocked"])
    row("converted, by counts", weights, run.steps, energy["energy_snn_mj"], timed["counted"])
    for name, network in native.items():
        cost, _ = native_report(network, [(x, t)])
        row(name, weights_of(network), 4, cost["energy_snn_mj"], timed[name])
    print("\n".join(columns("<28 >9 >6 >7 >7", rows)))


if __name__ == "__main__":
    main()
