"""Training of recipes/cifar10-v.toml in pieces of some minutes, each from the state before.

    python benchmarks/gpu_train.py pack --data DIR --out DIR     CIFAR-10 as lossless WebP mosaics
    python benchmarks/gpu_train.py train --data DIR --out DIR --seconds N [--smoke]

A machine with a GPU may be one without a network, to which little can be carried: the mosaics are
90 MB where the pixels are 150 MB, and the state lies in pieces (state.pt.00, ...) with moments of
the optimiser and averages in bfloat16 and float16. Going on from it is therefore not to the bit.
"""

from __future__ import annotations

import argparse
import io
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from snnconvert.checkpoint.recipe import load_recipe
from snnconvert.files.atomic import write_atomically
from snnconvert.files.tensors import read_file
from snnconvert.images.datasets import DATASETS
from snnconvert.images.pixels import TensorImages
from snnconvert.training.loop import train
from snnconvert.training.stage import Paused

RECIPE = Path(__file__).parents[1] / "recipes" / "cifar10-v.toml"
PER_MOSAIC, COLUMNS, HELD_OUT = 5000, 50, 1000
PIECE = 14 << 20  # bytes
SMOKE = ["steps=6", "quantized_steps=4", "radix_steps=4", "batch_size=4", "channels=16",
         "channel_mult=[1, 2]", "blocks=1", "warmup=2"]  # fmt: skip


def to_mosaic(pixels: Tensor) -> Image.Image:
    """uint8 [N, 3, H, W], N a multiple of COLUMNS, as one picture."""
    count, channels, height, width = pixels.shape
    rows = pixels.view(count // COLUMNS, COLUMNS, channels, height, width)
    whole = rows.permute(0, 3, 1, 4, 2).reshape(-1, COLUMNS * width, channels)
    return Image.fromarray(whole.numpy())


def from_mosaic(path: Path, size: int = 32) -> Tensor:
    """The inverse of `to_mosaic`."""
    whole = torch.from_numpy(np.asarray(Image.open(path).convert("RGB")).copy())
    rows = whole.view(whole.shape[0] // size, size, COLUMNS, size, 3)
    return rows.permute(0, 2, 4, 1, 3).reshape(-1, 3, size, size).contiguous()


def pack(data: Path, out: Path) -> None:
    """Mosaics train_*.webp and test_00.webp (its first images) of torchvision's CIFAR-10."""
    out.mkdir(parents=True, exist_ok=True)
    for name, training, count in (("train", True, None), ("test", False, HELD_OUT)):
        images = DATASETS["cifar10"](data, 32, training)
        pixels = images.take(range(count or len(images)))
        for number, part in enumerate(pixels.split(PER_MOSAIC)):
            path = out / f"{name}_{number:02d}.webp"
            to_mosaic(part).save(path, lossless=True, quality=60, method=4)
            assert torch.equal(from_mosaic(path), part)


def images_in(data: Path, smoke: bool) -> tuple[TensorImages, TensorImages]:
    """Training and held-out images: of mosaics, of torchvision, or random ones to try with."""
    mosaics = {name: sorted(data.glob(f"{name}_*.webp")) for name in ("train", "test")}
    if all(mosaics.values()):
        parts = (torch.cat([from_mosaic(p) for p in mosaics[name]]) for name in ("train", "test"))
        return TensorImages(next(parts)), TensorImages(next(parts))
    if smoke and not (data / "cifar-10-batches-py").is_dir():
        generator = torch.Generator().manual_seed(0)
        pixels = torch.randint(256, (64, 3, 32, 32), dtype=torch.uint8, generator=generator)
        return TensorImages(pixels), TensorImages(pixels[:32])
    return DATASETS["cifar10"](data, 32, True), DATASETS["cifar10"](data, 32, False)  # type: ignore[return-value]


def smaller(value: Any, dtype: torch.dtype) -> Any:
    """`value` with all its float tensors in `dtype`."""
    if isinstance(value, Tensor):
        return value.to(dtype) if value.is_floating_point() and value.ndim else value
    if isinstance(value, dict):
        return {key: smaller(item, dtype) for key, item in value.items()}
    return value


def put_away(state: Path, out: Path) -> None:
    """The training state in pieces, in less precision."""
    content = read_file(state)
    for key in ("average", "finished"):
        if key in content:
            content[key] = smaller(content[key], torch.float16)
    if "optimizer" in content:
        content["optimizer"] = smaller(content["optimizer"], torch.bfloat16)
    buffer = io.BytesIO()
    torch.save(content, buffer)
    whole = buffer.getvalue()
    for old in out.glob("state.pt.*"):
        old.unlink()
    for number, start in enumerate(range(0, len(whole), PIECE)):
        piece = whole[start : start + PIECE]
        write_atomically(
            out / f"state.pt.{number:02d}", lambda file, piece=piece: file.write(piece)
        )


def take_up(out: Path, state: Path) -> None:
    """Put the pieces of an earlier run together, if there are any, in full precision again."""
    pieces = sorted(out.glob("state.pt.*"))
    if pieces and not state.exists():
        whole = io.BytesIO(b"".join(piece.read_bytes() for piece in pieces))
        content = torch.load(whole, map_location="cpu", weights_only=True)
        for key in ("average", "finished", "optimizer"):
            if key in content:
                content[key] = smaller(content[key], torch.float32)
        write_atomically(state, lambda file: torch.save(content, file))


def run(data: Path, out: Path, seconds: float, smoke: bool) -> None:
    out.mkdir(parents=True, exist_ok=True)
    changes = SMOKE if smoke else []
    device = "cuda" if torch.cuda.is_available() else "cpu"
    recipe = load_recipe(RECIPE, [*changes, f"device={device}"])
    result, state = out / "cifar10-v.pt", out / "cifar10-v.train.pt"
    take_up(out, state)
    try:
        train(recipe, result, images=images_in(data, smoke), stop_after=seconds, progress=False)
    except Paused as pause:
        put_away(state, out)
        print(f"paused at {pause.at}; the next run goes on from {out}/state.pt.*")
        return
    for old in out.glob("state.pt.*"):
        old.unlink()
    print(f"finished: {result}")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("verb", choices=("pack", "train"))
    parser.add_argument("--data", type=Path, default=Path("data"))
    parser.add_argument("--out", type=Path, default=Path("out/gpu"))
    parser.add_argument("--seconds", type=float, default=300)
    parser.add_argument("--smoke", action="store_true", help="a tiny network, a few steps")
    args = parser.parse_args()
    if args.verb == "pack":
        pack(args.data, args.out)
    else:
        run(args.data, args.out, args.seconds, args.smoke)


if __name__ == "__main__":
    main()
