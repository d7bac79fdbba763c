"""Networks out to ONNX and in again: float error, and the error of the converted networks.

    python benchmarks/onnx_round_trip.py                       # all of examples/networks.py
    python benchmarks/onnx_round_trip.py resnet18 vit_b_16
    python benchmarks/onnx_round_trip.py --resnet20 DATA --timesteps 16

Each is written by both of PyTorch's exporters (dynamo at opset 18, TorchScript at 17; ResNet-20 at
13 and 18 too). `direct` is the error of the network converted from PyTorch, `again` from the file;
both deferred, by counts, calibrated on the example inputs (with `--more N`, on N such calls more)
and measured on the same fresh ones.

An exporter that folds a batch norm rounds in the seventh digit, and where a value lies that near to
the edge of a level, one count flips and its row goes another way: errors of the two roads agree as
means, not row by row. So more inputs are drawn until the standard error of the mean difference is
under `RESOLVED` of the error, or there are `--calls` of them; `difference` is that mean, in per
cent of the error of the direct road, with its standard error. A flip during calibration moves
thresholds and biases for good, however; `--nudged 3` adds what the direct road itself makes of
copies whose weights differ in the seventh digit, as those of a folded batch norm do, and
`--no-bias-correction` leaves out what such a flip moves most.
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
from statistics import mean, stdev
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

LEAST = 12  # calls of fresh inputs
RESOLVED = 0.003  # standard error of the mean difference, over the error
NUDGE = 1e-6  # relative, of each weight
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


class Road:
    """The relative errors of a converted network against its float one, call by call.

    Args:
        positional: whether both take all their arguments by position, as files do.
    """

    def __init__(self, snn: nn.Module, model: nn.Module, positional: bool = False) -> None:
        self.snn, self.model, self.positional = snn, model, positional
        self.errors: list[float] = []

    def add(self, args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
        if self.positional:
            args, kwargs = tuple(leaves((args, kwargs))), {}
        found, wanted = (network(*args, **kwargs) for network in (self.snn, self.model))
        self.errors.append(error(found, leaves(wanted)))


@torch.no_grad()
def compared(direct: Road, again: Road, inputs: Any, most: int) -> str:
    """Both mean errors, the mean difference with its standard error, and the calls it took."""
    generator = torch.Generator().manual_seed(1)
    for calls in range(1, most + 1):
        args, kwargs = arguments_of(fresh(inputs, generator))
        if len(direct.errors) < calls:
            direct.add(args, kwargs)
        again.add(args, kwargs)
        first = direct.errors[:calls]
        gaps = [b - a for a, b in zip(first, again.errors, strict=True)]
        spread = stdev(gaps) / calls**0.5 if calls > 1 else 0.0
        if calls >= LEAST and spread <= RESOLVED * mean(first):
            break
    each = 100 / mean(first)
    return (
        f"{mean(first):.4f} | {mean(again.errors):.4f} | "
        f"{each * mean(gaps):+.2f} ± {each * spread:.2f} % | {calls}"
    )


def nudged(model: nn.Module, seed: int) -> nn.Module:
    """A copy whose weights were rounded otherwise."""
    model, generator = copy.deepcopy(model), torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for weight in model.parameters():
            weight.mul_(1 + NUDGE * torch.randn(weight.shape, generator=generator))
    return model


def rows(name: str, args: argparse.Namespace, folder: Path) -> list[str]:
    """The table's lines of one network."""
    torch.manual_seed(0)
    model, inputs = {**FAST, **SLOW}[name]()
    model = copy.deepcopy(model).eval()
    call, kwargs = arguments_of(inputs)
    values = tuple(leaves((call, kwargs)))
    timesteps, most = args.timesteps, args.calls
    options: Any = {
        "simulate": "counts",
        "firing": "deferred",
        "bias_correction": args.bias_correction,
    }
    generator = torch.Generator().manual_seed(2)
    batches = [inputs, *(fresh(inputs, generator) for _ in range(args.more))]
    with torch.no_grad():
        wanted = leaves(model(*call, **kwargs))
    snn = snnconvert.convert(
        model, timesteps, example_inputs=inputs, calibration=batches, **options
    )
    direct, lines = Road(snn, model), []
    for exporter, (dynamo, opset) in EXPORTERS.items():
        try:
            path = written(model, inputs, folder / "network.onnx", dynamo, opset)
        except Exception as found:  # an exporter's own limits
            lines.append(f"| {name} | {exporter} | not exported: {type(found).__name__} | | | | |")
            continue
        try:
            network = snnconvert.load(path, example_inputs=values)
            with torch.no_grad():
                exact = error(network(*values), wanted)
            given = [tuple(leaves(arguments_of(batch))) for batch in batches]
            snn = snnconvert.convert(network, timesteps, calibration=given, **options)
        except snnconvert.errors.SnnconvertError as refusal:
            lines.append(f"| {name} | {exporter} | {str(refusal)[:160]} | | | | |")
            continue
        figures = compared(direct, Road(snn, network, positional=True), inputs, most)
        lines.append(f"| {name} | {exporter} | {exact:.1e} | {figures} |")
    for seed in range(args.nudged):
        other = nudged(model, seed)
        with torch.no_grad():
            exact = error(other(*call, **kwargs), wanted)
        snn = snnconvert.convert(
            other, timesteps, example_inputs=inputs, calibration=batches, **options
        )
        figures = compared(direct, Road(snn, model), inputs, most)
        lines.append(f"| {name} | none, nudged | {exact:.1e} | {figures} |")
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
    parser.add_argument("--calls", type=int, default=1000, help="of fresh inputs, at most")
    parser.add_argument("--more", type=int, default=0, metavar="CALLS", help="of calibration")
    parser.add_argument("--nudged", type=int, default=0, metavar="COPIES")
    parser.add_argument("--no-bias-correction", dest="bias_correction", action="store_false")
    args = parser.parse_args()
    warnings.simplefilter("ignore")
    logging.disable(logging.WARNING)
    with tempfile.TemporaryDirectory() as folder:
        if args.resnet20:
            run_resnet20(args.resnet20, args.timesteps, args.images, Path(folder))
            return
        print("| network | exporter | float error | direct | again | difference | calls |")
        print("|---|---|---|---|---|---|---|")
        for name in args.networks or [*FAST, *SLOW]:
            print("\n".join(rows(name, args, Path(folder))), flush=True)


if __name__ == "__main__":
    main()
