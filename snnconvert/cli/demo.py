"""The command `demo`: the whole road on a small network that travels with the package."""

from __future__ import annotations

import argparse
from typing import TYPE_CHECKING

from snnconvert.cli.arguments.lazy import Commands, add_command, add_count
from snnconvert.cli.arguments.output import add_output_options, say

if TYPE_CHECKING:
    from torch import Tensor, nn

    from snnconvert.checkpoint.checkpoint import Checkpoint


def add_demo(commands: Commands) -> None:
    add_command(
        commands,
        "demo",
        run_demo,
        add_arguments,
        help="convert a small diffusion U-Net that comes along, and draw images with it",
        description="Convert a small diffusion U-Net that travels with the package, report what "
        "was lost, and draw the same images with the float, the quantised and the spiking network. "
        "Needs no file and no data; takes half a minute.",
    )


def add_arguments(command: argparse.ArgumentParser) -> None:
    add = command.add_argument
    add("-o", "--out", default="snnconvert-demo", metavar="NAME",
        help="start of the names of what is written: NAME.pt (the network as it came), "
        "NAME.snn.pt, NAME.report.json and NAME.png (default snnconvert-demo)")  # fmt: skip
    add_count(command, "images to draw (default 8)", 8)
    add("--steps", type=int, default=10, help="network evaluations an image (default 10)")
    add("--seed", type=int, default=0, help="of the images (default 0)")
    add_output_options(command)


def run_demo(args: argparse.Namespace) -> None:
    import torch

    from snnconvert.checkpoint.checkpoint import Checkpoint
    from snnconvert.checkpoint.format import writer_of
    from snnconvert.checkpoint.networks import content_of
    from snnconvert.common.checks import AT_ONCE, checked_integer
    from snnconvert.common.shipped import demo_checkpoint
    from snnconvert.conversion.convert import convert
    from snnconvert.files.atomic import check_destination, write_together
    from snnconvert.images.pictures import save_png, tile
    from snnconvert.report.compare import compare
    from snnconvert.report.show.terminal import format_report

    checked_integer("--count", args.count, 1, AT_ONCE)
    ends = (".pt", ".snn.pt", ".report.json", ".png")
    copy, out, report_path, picture = (check_destination(f"{args.out}{end}") for end in ends)
    checkpoint = Checkpoint.read(demo_checkpoint())
    networks = {stage: checkpoint.network(stage) for stage in ("ann", "qann")}
    batches = list(checkpoint.probe_batches())
    snn = convert(networks["qann"], example_inputs=batches[0])
    report = compare(networks["qann"], snn, batches, float_ann=networks["ann"])
    images = [drawn(n, checkpoint, args) for n in (*networks.values(), snn)]
    equal = torch.equal(images[1], images[2])
    write_together({
        copy: lambda file: file.write(checkpoint.path.read_bytes()),
        out: writer_of(content_of(snn, like=checkpoint)),
        report_path: report.write,
    })  # fmt: skip
    save_png(picture, tile(torch.cat(images), args.count))
    text = f"{format_report(report.to_dict())}\n\n"
    text += f"wrote {copy}, {out}, {report_path} and {picture}\n{args.count} images from equal "
    text += "seeds; rows: float, quantised, spiking; the last two are "
    say(args, text + ("equal to the bit" if equal else "not equal"),
        {**report.to_dict(), "images_equal": equal})  # fmt: skip


def drawn(network: nn.Module, checkpoint: Checkpoint, args: argparse.Namespace) -> Tensor:
    """Images of a network of the checkpoint, from the seed of the arguments."""
    from snnconvert.diffusion.sampling import sample

    images: Tensor = sample(
        network, shape=(args.count, *checkpoint.image_shape(network)), solver="ddim",
        steps=args.steps, schedule=checkpoint.schedule(), seed=args.seed,
        prediction=checkpoint.predicts(), clip=True,
    )  # fmt: skip
    return images
