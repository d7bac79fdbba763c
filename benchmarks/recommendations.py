"""Whether what a sweep and a report recommend comes true on data that they have not seen.

    python benchmarks/recommendations.py timesteps --data DATA
    python benchmarks/recommendations.py advice

`timesteps`: the public ResNet-20 (`resnet20-cifar10/*.th` and `cifar-10-batches-py/` under DATA),
T for an error of 0.15 by `sweep` on 1,024 training images, then the error on 1,000 test images.
`advice`: networks of `examples/networks.py` converted at T = 4 on 64 inputs; the first advice is
followed, and both conversions are measured on 64 new inputs.
"""

from __future__ import annotations

import argparse
import sys
import warnings
from pathlib import Path
from typing import Any

import torch

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))
from resnet20 import cifar10, resnet20

import snnconvert
from examples.networks import FAST
from snnconvert.cli.arguments.options import add_conversion_options, conversion_options
from snnconvert.conversion.graph.signature import arguments_of
from snnconvert.report.measures.difference import error_of

WANTED = 0.15
ADVISED = ("resnet18", "transformer encoder", "vision transformer", "DDPM U-Net, attention, ReLU",
           "MLP denoiser in the plane", "BatchNorm before and after ReLU")  # fmt: skip


def timesteps(data: Path) -> None:
    (weights,) = (data / "resnet20-cifar10").glob("*.th")
    ann = resnet20(torch.load(weights, map_location="cpu", weights_only=True))
    training, _ = cifar10(data / "cifar-10-batches-py", train=True)
    order = torch.randperm(len(training), generator=torch.Generator().manual_seed(0))[:1024]
    batches = list(training[order].split(128))
    found = snnconvert.sweep(ann, range(1, 33), calibration=batches, max_error=WANTED)
    (row,) = (row for row in found.rows if row["timesteps"] == found.recommended)
    snn = snnconvert.convert(ann, found.recommended, example_inputs=batches[0],
                             calibration=batches, simulate="counts")  # fmt: skip
    unseen, _ = cifar10(data / "cifar-10-batches-py", train=False)
    error = error_of(snn, ann, [(x,) for x in unseen[:1000].split(250)])
    promised = row["relative_error_ann"]
    print(f"T = {found.recommended} for {WANTED}: promised {promised:.3f}, found {error:.3f}, "
          f"{error / promised:.2f} of it")  # fmt: skip


def options_of(flags: str) -> dict[str, Any]:
    """Options of `convert` that the command line makes of `flags`."""
    parser = argparse.ArgumentParser()
    add_conversion_options(parser)
    return conversion_options(parser.parse_args(["--timesteps", "4", *flags.split()]))


def advice(name: str) -> str:
    """The table's line of one network."""
    torch.manual_seed(0)
    ann = FAST[name]()[0].eval()
    inputs, unseen = ([FAST[name]()[1] for _ in range(8)] for _ in range(2))
    common = {"example_inputs": inputs[0], "calibration": inputs}
    snn = snnconvert.convert(ann, 4, **common)
    content = snnconvert.examine(ann, snn, inputs[:2], calibration=inputs).content
    first = content["advice"]["tried"][0]
    followed = snnconvert.convert(ann, **common, **options_of(first["flags"]))
    calls = [arguments_of(batch)[0] for batch in unseen]
    before, after = (error_of(network, ann, calls) for network in (snn, followed))
    return f"| {name} | `{first['flags']}` | {before:.3f} | {after:.3f} |"


def main() -> None:
    raw = argparse.RawDescriptionHelpFormatter
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=raw)
    parser.add_argument("what", choices=("timesteps", "advice"))
    parser.add_argument("--data", type=Path, default=Path("data"))
    args = parser.parse_args()
    warnings.simplefilter("ignore")
    if args.what == "timesteps":
        timesteps(args.data)
        return
    print("| network | first advice | error before | when followed |\n|---|---|---|---|")
    for name in ADVISED:
        print(advice(name), flush=True)


if __name__ == "__main__":
    main()
