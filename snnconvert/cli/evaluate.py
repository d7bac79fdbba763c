"""The command `evaluate`: how good images or classes are. Heavy imports stay inside."""

from __future__ import annotations

import argparse
from typing import Any

from snnconvert.checkpoint import STAGES
from snnconvert.cli.arguments.lazy import Commands, add_command, add_count
from snnconvert.cli.arguments.options import (
    add_device,
    add_image_options,
    add_schedule,
    add_threshold_scale,
    check_batch_size,
    images_help,
)
from snnconvert.cli.arguments.output import add_output_options, destination, say
from snnconvert.cli.arguments.progress import bars
from snnconvert.cli.arguments.solver_options import add_solver_options, given_options
from snnconvert.cli.arguments.texts import numbers

DRAWING = ("stage", "solver", "grid", "steps", "seed", "simulate", "schedule", "mean", "std")


def add_evaluate(commands: Commands) -> None:
    add_command(
        commands,
        "evaluate",
        run_evaluate,
        add_arguments,
        help="FID and Inception Score of a network's images, or accuracy of a classifier",
        description="Draw images from a checkpoint (or take stored ones) and hold them against "
        "reference images or their statistics; of a classifier's checkpoint, the accuracy on "
        "labelled images.",
    )


def add_arguments(command: argparse.ArgumentParser) -> None:
    command.add_argument("file", metavar="FILE", help=f"checkpoint, {images_help()}")
    command.add_argument(
        "--against",
        required=True,
        metavar="DATA",
        help=f"statistics (.npz), {images_help()}; of a classifier: a dataset, or a "
        "folder of a folder for each class",
    )
    add_count(command, "images (default: 10000 drawn, or all stored)", None, "--samples")
    command.add_argument("--dims", type=int, help="64, 192, 768 or 2048 (default: as --against)")
    command.add_argument("--stage", choices=STAGES, help="which network")
    command.add_argument("--steps", type=int, help="network evaluations (default 20)")
    command.add_argument("--seed", type=int, help="default 0")
    command.add_argument(
        "--simulate",
        choices=("steps", "counts"),
        help="run a converted network this way (default: as in the file)",
    )
    command.add_argument("--batch-size", type=int, default=32, help="images at once (default 32)")
    command.add_argument(
        "--precision-recall",
        action="store_true",
        help="also by nearest neighbours among the features, which are then kept in memory",
    )
    command.add_argument(
        "--no-inception-score",
        dest="score",
        action="store_false",
        help="leave the Inception Score out; below 2048 features that is faster",
    )
    for option in ("--mean", "--std"):
        command.add_argument(option, type=numbers, help="of images, as in `convert`, of a "
                             "classifier (default 0.5)")  # fmt: skip
    add_device(command)
    add_image_options(command, None)
    command.add_argument("-o", "--out", help="JSON to write")
    add_threshold_scale(command)
    add_schedule(command)
    add_solver_options(command, default=None)
    add_output_options(command, slow=True)


def run_evaluate(args: argparse.Namespace) -> None:
    from snnconvert.common.hardware import checked_device
    from snnconvert.evaluation.evaluate import evaluate
    from snnconvert.evaluation.metrics.features import check_dims
    from snnconvert.report.show.evaluation import format_accuracy, format_evaluation

    out = destination(args, args.out) if args.out else None
    if args.dims is not None:
        check_dims(args.dims)
    check_batch_size(args.batch_size)
    checked_device(args.device)
    found = evaluate(
        args.file, args.against, count=args.count, dims=args.dims, score=args.score,
        neighbours=args.precision_recall, batch_size=args.batch_size, device=args.device,
        data_root=args.data_root, image_size=args.image_size, progress=bars(args),
        command=args.command_line, **given_drawing(args),
    )  # fmt: skip
    result = found.to_dict()
    if out is not None:
        found.save(out)
    text = format_accuracy(result) if "accuracy" in result else format_evaluation(result)
    say(args, text if out is None else f"{text}\nwrote {out}", result)


def given_drawing(args: argparse.Namespace) -> dict[str, Any]:
    """What the command line says of how images are drawn."""
    found = {name: getattr(args, name) for name in DRAWING if getattr(args, name) is not None}
    scaled = {"threshold_scale": args.threshold_scale} if args.threshold_scale != 1 else {}
    return {**found, **given_options(args), **scaled}
