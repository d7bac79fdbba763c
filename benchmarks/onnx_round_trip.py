"""Networks out to ONNX and in again: float error, and the error of the converted networks.

    python benchmarks/onnx_round_trip.py                       # all networks of networks.py
    python benchmarks/onnx_round_trip.py unet vit_b_16
    python benchmarks/onnx_round_trip.py --resnet20 DATA --timesteps 16

Each is written by both of PyTorch's exporters (dynamo at opset 18, TorchScript at 17; ResNet-20 at
13 and 18 too). `direct` is the error of the network converted from PyTorch, `again` from the file;
both deferred, by counts, calibrated on the example inputs and measured on fresh ones. An exporter
that folds a batch norm rounds in the seventh digit, and where a value lies that near to the edge of
a level, one count flips and its row goes another way: errors of the two roads agree as means over
many rows, not row by row.
"""

from __future__ import annotations

import argparse
import contextlib
import copy
import io
import logging
import sys
import tempfile
import warnings
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

import snnconvert
from snnconvert.conversion.graph.signature import arguments_of
from snnconvert.conversion.graph.values import leaves
from snnconvert.models.cnn import resnet20

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))
from benchmarks.resnet20 import cifar10, classes, per_cent
from examples.networks import FAST, SLOW

CALLS = 12  # of fresh inputs
EXPORTERS = {"dynamo 18": (True, 18), "torchscript 17": (False, 17)}


def written(model: nn.Module, inputs: Any, path: Path, dynamo: bool, opset: int) -> Path:
    """`model` as an ONNX file with a dynamic batch."""
    args, kwargs = arguments_of(inputs)
    axis = {0: torch.export.Dim.DYNAMIC}
    batch = len(leaves((args, kwargs))[0])
    marks = [axis if isinstance(a, Tensor) and a.ndim and len(a) == batch else None for a in args]
    silent = contextlib.redirect_stdout(io.StringIO()), contextlib.redirect_stderr(io.StringIO())
    with silent[0], silent[1]:
        if dynamo:
            named = dict.fromkeys(kwargs, axis)
            torch.onnx.export(
                model, args, path, kwargs=kwargs or None, dynamo=True, opset_version=opset,
                dynamic_shapes=named if kwargs else tuple(marks), verbose=False,
            )  # fmt: skip
        else:
            names = [f"x{i}" for i in range(len(args))]
            dynamic = {name: {0: "N"} for name, mark in zip(names, marks, strict=True) if mark}
            torch.onnx.export(
                model, args, path, kwargs=kwargs or None, dynamo=False, opset_version=opset,
                input_names=names, dynamic_axes=dynamic,
            )  # fmt: skip
    return path


def error(found: Any, wanted: list[Tensor]) -> float:
    pairs = list(zip(leaves(found), wanted, strict=True))
    gap = sum(float((a - b).square().sum()) for a, b in pairs)
    return float((gap / sum(float(b.square().sum()) for b in wanted)) ** 0.5)


def fresh(inputs: Any, generator: torch.Generator) -> Any:
    """Arguments like `inputs`: floats of the same mean and deviation, other values as they are."""

    def drawn(value: Any) -> Any:
        if not isinstance(value, Tensor) or not value.is_floating_point():
            return value
        spread = value.std() if value.numel() > 1 else torch.zeros(())
        return value.mean() + spread * torch.randn(value.shape, generator=generator)

    return torch.utils._pytree.tree_map(drawn, inputs)


def mean_error(snn: nn.Module, model: nn.Module, calls: list[Any]) -> float:
    """The mean of the relative errors of calls [(args, kwargs)]."""
    found = [error(snn(*a, **k), leaves(model(*a, **k))) for a, k in calls]
    return sum(found) / len(found)


def rows(name: str, timesteps: int, folder: Path) -> list[str]:
    """The table's lines of one network."""
    torch.manual_seed(0)
    model, inputs = {**FAST, **SLOW}[name]()
    model = copy.deepcopy(model).eval()
    args, kwargs = arguments_of(inputs)
    options: Any = {"calibration": [inputs], "simulate": "counts", "firing": "deferred"}
    with torch.no_grad():
        wanted = leaves(model(*args, **kwargs))
        generator = torch.Generator().manual_seed(1)
        calls = [arguments_of(fresh(inputs, generator)) for _ in range(CALLS)]
        snn = snnconvert.convert(model, timesteps, example_inputs=inputs, **options)
        direct = mean_error(snn, model, calls)
    lines = []
    for exporter, (dynamo, opset) in EXPORTERS.items():
        try:
            path = written(model, inputs, folder / "network.onnx", dynamo, opset)
        except Exception as found:  # an exporter's own limits
            lines.append(f"| {name} | {exporter} | not exported: {type(found).__name__} | | |")
            continue
        values = tuple(leaves((args, kwargs)))
        try:
            network = snnconvert.load(path, example_inputs=values)
            with torch.no_grad():
                exact = error(network(*values), wanted)
                options["calibration"] = [values]
                snn = snnconvert.convert(network, timesteps, **options)
                by_position = [(tuple(leaves(call)), {}) for call in calls]
                again = mean_error(snn, network, by_position)
                options["calibration"] = [inputs]
        except snnconvert.errors.SnnconvertError as refusal:
            lines.append(f"| {name} | {exporter} | {str(refusal)[:160]} | | |")
            continue
        lines.append(f"| {name} | {exporter} | {exact:.1e} | {direct:.4f} | {again:.4f} |")
    return lines


def run_resnet20(data: Path, timesteps: int, images: int, folder: Path) -> None:
    """Accuracy from PyTorch and from each file."""
    (weights,) = (data / "resnet20-cifar10").glob("*.th")
    model = resnet20(torch.load(weights, map_location="cpu", weights_only=True)).eval()
    test, labels = (part[:images] for part in cifar10(data / "cifar-10-batches-py", train=False))
    training, _ = cifar10(data / "cifar-10-batches-py", train=True)
    order = torch.randperm(len(training), generator=torch.Generator().manual_seed(0))
    options: Any = {
        "calibration": training[order[:2048]].split(128), "simulate": "counts",
        "firing": "deferred",
    }  # fmt: skip

    def accuracy(network: nn.Module, **more: Any) -> float:
        return per_cent(
            classes(snnconvert.convert(network, timesteps, **options, **more), test), labels
        )

    print(f"from PyTorch: {accuracy(model, example_inputs=test[:2]):.2f} %", flush=True)
    for dynamo in (True, False):
        for opset in (13, 18):
            path = written(model, test[:2], folder / "resnet20.onnx", dynamo, opset)
            found = accuracy(snnconvert.load(path))
            print(f"{'dynamo' if dynamo else 'torchscript'} {opset}: {found:.2f} %", flush=True)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("networks", nargs="*")
    parser.add_argument("--resnet20", type=Path, metavar="DATA")
    parser.add_argument("--images", type=int, default=10_000)
    parser.add_argument("--timesteps", type=int, default=16)
    args = parser.parse_args()
    warnings.simplefilter("ignore")
    logging.disable(logging.WARNING)
    with tempfile.TemporaryDirectory() as folder:
        if args.resnet20:
            run_resnet20(args.resnet20, args.timesteps, args.images, Path(folder))
            return
        print("| network | exporter | float error | direct | again |\n|---|---|---|---|---|")
        for name in args.networks or [*FAST, *SLOW]:
            print("\n".join(rows(name, args.timesteps, Path(folder))), flush=True)


if __name__ == "__main__":
    main()
