"""Command-line arguments that name a network; `sources.py` turns them into one.

Apart from that file, so that `snnconvert --help` imports no PyTorch.
"""

from __future__ import annotations

import argparse


def add_source_arguments(command: argparse.ArgumentParser) -> None:
    """FILE, --stage, --model, --example-shape, --calibrate and what goes with it."""
    command.add_argument(
        "file",
        metavar="FILE",
        nargs="?",
        help="a checkpoint of snnconvert, a .pt2 file (torch.export.save; no code in it runs), or, "
        "with --model, its weights (a state dict)",
    )
    add_stage_argument(command)
    command.add_argument(
        "--model",
        metavar="MODULE:FACTORY",
        help="Python function that returns the network, e.g. torchvision.models:resnet18; your "
        "code, it runs",
    )
    command.add_argument(
        "--example-shape",
        action="append",
        default=[],
        metavar="B,C,H,W[:int]",
        help="shape of an input of --model, batch first; once per input",
    )
    command.add_argument(
        "--calibrate",
        metavar="DATA",
        help="inputs for networks with plain activations: a .pt file with a tensor (or a tuple of "
        "tensors, one per input), a folder of images, or the name of a data set such as cifar10; "
        "for a denoiser (a checkpoint, or any with --schedule) clean images, which are noised over "
        "the whole range of t",
    )
    add_schedule(command)
    command.add_argument("--data-root", default="data", help="where data sets lie (default data)")
    command.add_argument("--mean", type=numbers, default=(0.5,), help="of images (default 0.5)")
    command.add_argument("--std", type=numbers, default=(0.5,), help="of images (default 0.5)")
    command.add_argument(
        "--calibration-inputs", type=int, default=1024, metavar="N", help="default 1024"
    )


def add_schedule(command: argparse.ArgumentParser) -> None:
    command.add_argument(
        "--schedule", metavar="NAME|FIRST,LAST,STEPS",
        help="noise that the network was trained with, where the file does not say: linear, "
        "cosine, or betas and their number",
    )  # fmt: skip


def add_stage_argument(command: argparse.ArgumentParser) -> None:
    command.add_argument(
        "--stage",
        choices=("ann", "qann"),
        help="which network of a checkpoint: the float or the quantised one (default: the most "
        "advanced that it holds)",
    )


def numbers(text: str) -> tuple[float, ...]:
    """ "0.4,0.5,0.6" as numbers."""
    try:
        return tuple(float(part) for part in text.split(","))
    except ValueError:
        raise argparse.ArgumentTypeError(
            f"found {text!r}, allowed are numbers: 0.4,0.5,0.6"
        ) from None
