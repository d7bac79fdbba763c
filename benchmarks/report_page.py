"""The page of a report on a deep U-Net: its size, and how long it takes to make.

    python benchmarks/report_page.py [--blocks 4]

Blocks a resolution; four make 116 layers of neurons. The weights are random. "Look" is all that a
report measures, its passes through the networks; "page" is the making of the file from that; both
in seconds of one processor.
"""

from __future__ import annotations

import argparse
import time
import warnings

import torch

import snnconvert
from snnconvert.models.unet import UNet, UNetConfig
from snnconvert.report.pictures import Drawing
from snnconvert.report.show.page import page

BATCH, SIZE = 8, 32


def network(blocks: int, levels: int) -> UNet:
    torch.manual_seed(0)
    config = UNetConfig(
        in_channels=3, channels=8, channel_mult=(1, 2, 2, 2), blocks=blocks, groups=4, dropout=0.0,
        levels=levels,
    )  # fmt: skip
    made = UNet(config).eval()
    torch.nn.init.normal_(made.tail.weight, std=0.3)  # begins at zero
    return made


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--blocks", type=int, default=4)
    blocks = parser.parse_args().blocks
    warnings.simplefilter("ignore")
    qann, ann = (network(blocks, levels) for levels in (4, 0))
    batches = [(torch.randn(BATCH, 3, SIZE, SIZE), torch.rand(BATCH) * 999) for _ in range(4)]
    snn = snnconvert.convert(qann, 4, example_inputs=batches[0], spiking_time=True)
    drawing = Drawing((3, SIZE, SIZE), snnconvert.Schedule.linear())
    start = time.process_time()
    found = snnconvert.examine(qann, snn, batches, float_ann=ann, drawing=drawing)
    looked = time.process_time()
    text = page(found.content, found.images)
    made = time.process_time()
    print("| layers | look, CPU s | page, CPU s | MB |\n|---|---|---|---|")
    print(f"| {len(snn.neurons)} | {looked - start:.1f} | {made - looked:.1f} "
          f"| {len(text.encode()) / 1e6:.2f} |")  # fmt: skip


if __name__ == "__main__":
    main()
