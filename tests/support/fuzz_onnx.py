"""Mutated ONNX files: each is read or refused in one clear line, and takes no memory to speak of.

    python -m tests.support.fuzz_onnx [--files 10000] [--seed 0] [FILE.onnx ...]

Without files, small ones of each PyTorch exporter are mutated.
"""

from __future__ import annotations

import argparse
import collections
import random
import resource
import tempfile
import warnings
from pathlib import Path

import onnx
import torch
from onnx import parser as notation
from torch import nn

import snnconvert
from snnconvert.errors import SnnconvertError
from tests.support.onnx_files import detector, mutated

MEMORY = 6 << 30  # bytes of address space above the present ones
TEXT = """<ir_version: 8, opset_import: ["" : 13]>
g (float[N,3,8,8] x) => (float[N,4] y) <float[4,3,3,3] w = {WEIGHTS}> {
    c = Conv<pads=[1,1,1,1]>(x, w)
    r = Relu(c)
    s = Shape(r)
    two = Constant<value_ints=[2]>()
    n = Slice(s, zero, two)
    zero = Constant<value_ints=[0]>()
    rest = Constant<value_ints=[-1]>()
    to = Concat<axis=0>(n, rest)
    f = Reshape(r, to)
    y = ReduceMax<axes=[2], keepdims=0>(f)
}"""


def sources(folder: Path) -> list[Path]:
    """Small files to start from: written out, and of PyTorch's older exporter."""
    values = ",".join(["0.1"] * 108)
    (folder / "text.onnx").write_bytes(
        notation.parse_model(TEXT.replace("WEIGHTS", values)).SerializeToString()
    )
    (folder / "detector.onnx").write_bytes(detector().SerializeToString())
    model = nn.Sequential(
        nn.Conv2d(3, 4, 3, 2), nn.BatchNorm2d(4), nn.Hardswish(), nn.Upsample(scale_factor=2),
        nn.Flatten(), nn.Linear(144, 8), nn.LayerNorm(8), nn.GELU(), nn.Linear(8, 2),
    ).eval()  # fmt: skip
    for opset in (11, 17):
        torch.onnx.export(
            model, torch.rand(2, 3, 8, 8), folder / f"opset{opset}.onnx", dynamo=False,
            opset_version=opset, dynamic_axes={"x": {0: "N"}}, input_names=["x"],
        )  # fmt: skip
    return sorted(folder.glob("*.onnx"))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--files", type=int, default=10_000)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("sources", nargs="*", type=Path)
    args = parser.parse_args()
    warnings.simplefilter("ignore")
    draw, found = random.Random(args.seed), collections.Counter()
    with tempfile.TemporaryDirectory() as folder:
        origins = [p.read_bytes() for p in args.sources or sources(Path(folder))]
        for content in origins:
            onnx.load_model_from_string(content)
        used = int(Path("/proc/self/statm").read_text().split()[0]) * resource.getpagesize()
        resource.setrlimit(resource.RLIMIT_AS, (used + MEMORY, used + MEMORY))
        path = Path(folder) / "mutated.onnx"
        for index in range(args.files):
            path.write_bytes(mutated(draw.choice(origins), draw))
            try:
                snnconvert.load(path)
                found["read"] += 1
            except SnnconvertError as error:
                found[type(error).__name__] += 1
            except BaseException:
                kept = Path(f"onnx_fuzz_{args.seed}_{index}.onnx")
                kept.write_bytes(path.read_bytes())
                print(f"crashed: {kept}", flush=True)
                raise
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20
    print(f"{args.files} files: {dict(found)}, at most {peak:.1f} GiB of memory")


if __name__ == "__main__":
    main()
