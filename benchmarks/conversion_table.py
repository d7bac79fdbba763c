"""Output errors of every way to convert the shipped network, and pictures of the same seeds.

    python benchmarks/conversion_table.py [--picture docs/conversions.png]

Errors on the 256 real noised inputs in the checkpoint, relative to the quantised network's output;
the last column is the distance from the float one, once both are clipped as samplers do.
"""

from __future__ import annotations

import argparse
from pathlib import Path

import torch
from PIL import Image, ImageDraw

import snnconvert
from snnconvert.checkpoint.checkpoint import Checkpoint
from snnconvert.checkpoint.networks import network_of
from snnconvert.images.pictures import tile
from snnconvert.images.pixels import to_pixels
from snnconvert.report.measures.as_seen import AsSeen
from snnconvert.report.measures.difference import Difference

ROOT = Path(__file__).resolve().parent.parent
WAYS = {
    "SDM's rule, unsigned": {"norm": "per_step", "settle": 0, "signed": False},
    "SDM's rule, signed": {"norm": "per_step", "settle": 0},
    "ours, unsigned, settle 0": {"settle": 0, "signed": False},
    "ours, unsigned, settle 4": {"settle": 4, "signed": False},
    "ours, signed, settle 0": {"settle": 0},
    "ours, signed, settle 1": {"settle": 1},
    "ours, signed, settle 2": {"settle": 2},
    "ours, signed, settle 4": {"settle": 4},
    "ours, signed, settle auto": {},
    "ours, deferred": {"firing": "deferred"},
}
PICTURED = ["ours, signed, settle auto", "ours, signed, settle 0", "SDM's rule, signed",
            "SDM's rule, unsigned"]  # fmt: skip


def measure(snn, qann, ann, batches) -> dict[str, float]:
    """Errors against both networks, the largest against the quantised one, steps and spikes."""
    rounded, plain, seen = Difference(), Difference(), AsSeen(snn)
    spikes = counts = 0.0
    steps = 0
    for batch in batches:
        run = snn.run(*batch, record="counts")
        with torch.no_grad():
            rounded.add(run.output, qann(*batch))
            plain.add(*(seen(batch, {}, output) for output in (run.output, ann(*batch))))
        spikes += sum(float(v.sum()) for v in run.emitted.values())
        counts += sum(float(v.abs().sum()) for v in run.counts.values())
        steps = max(steps, run.steps)
    return {"error": rounded.relative_error, "largest": rounded.largest, "steps": steps,
            "spikes": spikes / counts, "plain": plain.relative_error}  # fmt: skip


def picture(rows: dict, path: Path, count: int, checkpoint: Checkpoint) -> None:
    """One captioned strip of `count` DDIM-50 images from seed 0 per network."""
    strips = []
    for title, network in rows.items():
        shape = (count, *checkpoint.image_shape(network))
        images = snnconvert.sample(network, shape=shape, solver="ddim", steps=50, seed=0,
                                   schedule=checkpoint.schedule(), clip=True,
                                   prediction=checkpoint.prediction)  # fmt: skip
        pixels = to_pixels(tile(images, count)).permute(1, 2, 0).numpy()
        strip = Image.fromarray(pixels).resize((pixels.shape[1] * 2, pixels.shape[0] * 2), 0)
        framed = Image.new("RGB", (strip.width, strip.height + 16), "white")
        ImageDraw.Draw(framed).text((4, 2), title, fill="black")
        framed.paste(strip, (0, 16))
        strips.append(framed)
    whole = Image.new("RGB", (strips[0].width, sum(s.height for s in strips)), "white")
    top = 0
    for strip in strips:
        whole.paste(strip, (0, top))
        top += strip.height
    whole.save(path)
    print(f"wrote {path}")


def radix_of(checkpoint: Checkpoint, example) -> torch.nn.Module:
    """The network of sixteen values, spiking."""
    return snnconvert.convert(checkpoint.network("qann-radix"), 4, example_inputs=example,
                              code="radix", simulate="counts")  # fmt: skip


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--file", default=str(ROOT / "checkpoints" / "fashion-unet.pt"))
    parser.add_argument("--timesteps", type=int, default=4)
    parser.add_argument("--picture", type=Path)
    parser.add_argument("--count", type=int, default=12, help="images a row")
    args = parser.parse_args()
    checkpoint = Checkpoint.read(args.file)
    qann = network_of(checkpoint, "qann")
    ann = checkpoint.network("ann")
    batches = checkpoint.probe_batches()
    print(f"| conversion, T = {args.timesteps} | relative error | largest | steps | spikes/count "
          "| from the float ANN |")  # fmt: skip
    print("|---|---|---|---|---|---|")
    networks = {}
    for title, options in WAYS.items():
        snn = snnconvert.convert(qann, args.timesteps, example_inputs=batches[0], **options)
        networks[title] = snn
        row = measure(snn, qann, ann, batches)
        print(
            f"| {title} | {row['error']:.3g} | {row['largest']:.3g} | {row['steps']} "
            f"| {row['spikes']:.2f} | {row['plain']:.3f} |",
            flush=True,
        )
    if args.picture:
        rows = {
            "float ANN": ann,
            "ours, T = 4, radix (by counts)": radix_of(checkpoint, batches[0]),
        }
        rows |= {title: networks[title] for title in PICTURED}
        picture(rows, args.picture, args.count, checkpoint)


if __name__ == "__main__":
    main()
