"""Accuracy of a public ResNet-20 on CIFAR-10 after conversion without retraining.

    python benchmarks/resnet20.py --data DATA
    python benchmarks/resnet20.py --data DATA --weights distilled --calibration 1024
    python benchmarks/resnet20.py --data DATA --timesteps 4 --simulate steps
    python benchmarks/resnet20.py --data DATA --simulate steps --settle 0

Needs `cifar-10-batches-py/` and `resnet20-cifar10/*.th` under the data folder. One pass over spike
counts equals the clocked network (deferred, and immediate at silence). `--simulate steps` runs the
clock instead, reports steps and spikes, and compares its predictions with those by counts.
"""

from __future__ import annotations

import argparse
import pickle
import time
from pathlib import Path

import numpy as np
import torch
from torch import Tensor, nn

import snnconvert
from snnconvert.conversion.spiking.network import SpikingNetwork
from snnconvert.models.cnn import resnet20

BATCH = 250
MEAN, STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)


def cifar10(folder: Path, train: bool) -> tuple[Tensor, Tensor]:
    """Normalised images [N, 3, 32, 32] and labels [N]; the folder must be trusted (pickles)."""
    names = [f"data_batch_{n}" for n in range(1, 6)] if train else ["test_batch"]
    parts = [pickle.loads((folder / name).read_bytes(), encoding="bytes") for name in names]
    pixels = np.concatenate([part[b"data"] for part in parts]).reshape(-1, 3, 32, 32)
    labels = torch.tensor(np.concatenate([part[b"labels"] for part in parts]))
    x = torch.from_numpy(pixels).float().div_(255)
    return (x - torch.tensor(MEAN).view(3, 1, 1)) / torch.tensor(STD).view(3, 1, 1), labels


@torch.no_grad()
def classes(network: nn.Module, images: Tensor) -> Tensor:
    """The class that `network` gives each image."""
    return torch.cat([network(x).argmax(1) for x in images.split(BATCH)])


def per_cent(found: Tensor, wanted: Tensor) -> float:
    return 100 * float((found == wanted).double().mean())


def clocked(snn: SpikingNetwork, found: Tensor, images: Tensor) -> str:
    """What the history of a clocked network says, and how its classes `found` compare."""
    history = snn.history or []
    steps = [call.steps for call in history]
    spikes = sum(call.spikes for call in history) / sum(call.counts for call in history)
    text = f", {sum(steps) / len(steps):.1f} steps a call (most {max(steps)}), "
    text += f"{spikes:.2f} spikes per count"
    if snn.config.neuron == "lif":
        return text
    exact = snn.with_config(simulate="counts", firing="deferred", settle=None)
    same = int((classes(exact, images) == found).sum())
    return f"{text}, {same} of {len(found)} predictions equal the quantised network's"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--data", type=Path, default=Path("data"))
    parser.add_argument("--images", type=int, default=10_000, help="test images (default all)")
    parser.add_argument("--calibration", type=int, default=2048, help="training images")
    parser.add_argument("--timesteps", type=int, nargs="+", default=[4, 8, 16, 32])
    parser.add_argument("--threshold", default="mse")
    parser.add_argument("--code", choices=("rate", "radix"), default="rate")
    parser.add_argument("--neuron", choices=("if", "lif"), default="if")
    parser.add_argument("--tau", type=float, default=10.0, help="of --neuron lif")
    parser.add_argument(
        "--firing",
        choices=("immediate", "deferred"),
        help="default: immediate; deferred for --code radix and --neuron lif",
    )
    parser.add_argument("--simulate", choices=("counts", "steps"), default="counts")
    parser.add_argument("--settle", help="input-free steps, or auto (until silence)")
    parser.add_argument("--per-layer", action="store_true", help="one threshold a layer")
    parser.add_argument("--no-bias-correction", action="store_true")
    parser.add_argument("--v-init", default="half", choices=("half", "optimised"))
    parser.add_argument("--weights", choices=("kept", "blocks", "distilled"), default="kept")
    args = parser.parse_args()
    (weights,) = (args.data / "resnet20-cifar10").glob("*.th")
    model = resnet20(torch.load(weights, map_location="cpu", weights_only=True))
    images, labels = cifar10(args.data / "cifar-10-batches-py", train=False)
    images, labels = images[: args.images], labels[: args.images]
    training, _ = cifar10(args.data / "cifar-10-batches-py", train=True)
    order = torch.randperm(len(training), generator=torch.Generator().manual_seed(0))
    calibration = training[order[: args.calibration]].split(128)
    late = args.code == "radix" or args.neuron == "lif"
    firing = args.firing or ("deferred" if late else "immediate")
    settle = int(args.settle) if (args.settle or "").isdigit() else args.settle
    float_classes = classes(model, images)
    print(f"ANN {per_cent(float_classes, labels):.2f} % of {len(images)} images", flush=True)
    for timesteps in args.timesteps:
        start = time.perf_counter()
        snn = snnconvert.convert(
            model, timesteps, example_inputs=images[:2], calibration=calibration,
            threshold=args.threshold, per_channel=not args.per_layer, simulate=args.simulate,
            bias_correction=not args.no_bias_correction, code=args.code, firing=firing,
            neuron=args.neuron, tau=args.tau, weights=args.weights, settle=settle,
            v_init=args.v_init,
        )  # fmt: skip
        seconds = time.perf_counter() - start
        if args.simulate == "steps":
            snn.keep_history()
        found = classes(snn, images)
        more = clocked(snn, found, images) if args.simulate == "steps" else ""
        print(
            f"T = {timesteps:3d}: {per_cent(found, labels):.2f} %, converted in {seconds:.1f} s"
            f"{more}",
            flush=True,
        )


if __name__ == "__main__":
    main()
