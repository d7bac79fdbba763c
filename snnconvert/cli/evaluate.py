"""The command `evaluate`: how good images or classes are. Heavy imports stay inside."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import TYPE_CHECKING, Any

from snnconvert.checkpoint import STAGES
from snnconvert.cli.arguments.options import (
    IMAGES,
    add_device,
    add_image_options,
    add_schedule,
    add_threshold_scale,
    check_batch_size,
)
from snnconvert.cli.arguments.solver_options import (
    DEFAULT_SOLVER,
    SOLVER_OPTIONS,
    add_solver_options,
    chosen_options,
)
from snnconvert.errors import InputError

if TYPE_CHECKING:
    from snnconvert.images.sources import Source


DRAWING = ("stage", "solver", "grid", "steps", "seed", "simulate", "schedule")


def add_evaluate(commands: argparse._SubParsersAction) -> None:
    command = commands.add_parser(
        "evaluate",
        help="FID and Inception Score of a network's images, or accuracy of a classifier",
        description="Draw images from a checkpoint (or take stored ones) and hold them against "
        "reference images or their statistics; of a classifier's checkpoint, the accuracy on "
        "labelled images.",
    )
    command.add_argument("file", metavar="FILE", help=f"checkpoint, {IMAGES}")
    command.add_argument(
        "--against",
        required=True,
        metavar="DATA",
        help=f"statistics (.npz), {IMAGES}; of a classifier: a dataset, or a folder of a folder "
        "for each class",
    )
    command.add_argument("--samples", type=int, help="images (default: 10000 drawn, or all stored)")
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
    add_device(command)
    add_image_options(command, None)
    command.add_argument("-o", "--out", help="JSON to write")
    add_threshold_scale(command)
    add_schedule(command)
    add_solver_options(command)
    command.set_defaults(run=run_evaluate, solver=None)


def run_evaluate(args: argparse.Namespace) -> None:
    from snnconvert.checkpoint.content import is_classifier
    from snnconvert.common.hardware import checked_device
    from snnconvert.evaluation.evaluate import check_comparable, evaluate
    from snnconvert.evaluation.metrics.cache import checked_count
    from snnconvert.evaluation.metrics.features import Inception, check_dims
    from snnconvert.evaluation.metrics.gaussian import Statistics
    from snnconvert.evaluation.opened import open_reference
    from snnconvert.files.atomic import check_destination
    from snnconvert.report.show.evaluation import format_evaluation

    out = check_destination(args.out) if args.out else None
    if args.dims is not None:
        check_dims(args.dims)
    check_batch_size(args.batch_size)
    checked_device(args.device)
    content = checkpoint_content(args)
    if content is not None and is_classifier(content, args.file):
        return run_accuracy(args, content, out)
    source, root = open_evaluated(args, content)
    against = open_reference(args.against, root, args.image_size, source)
    dims = args.dims or (against.dims if isinstance(against, Statistics) else 2048)
    check_dims(dims)
    count = checked_count(source, args.samples)
    check_comparable(source, against, dims, args.precision_recall)
    result = evaluate(
        source, against, Inception(dims, args.device), count=count, batch_size=args.batch_size,
        score=args.score, neighbours=args.precision_recall, progress=True,
        command=args.command_line,
    )  # fmt: skip
    if out is not None:
        result.save(out)
    print(format_evaluation(result.to_dict()))
    if out is not None:
        print(f"wrote {out}")


def checkpoint_content(args: argparse.Namespace) -> dict[str, Any] | None:
    """Content of the checkpoint that FILE is, None where it names images."""
    from snnconvert.checkpoint.format import read_checkpoint
    from snnconvert.images.datasets import DATASETS

    path = Path(args.file)
    if path.suffix == ".npz" or path.is_dir() or args.file.partition(":")[0] in DATASETS:
        return None
    return read_checkpoint(path)


def run_accuracy(args: argparse.Namespace, content: dict[str, Any], out: Path | None) -> None:
    """Accuracy of a classifier."""
    from snnconvert.checkpoint.content import recipe_of
    from snnconvert.evaluation.classified import classified, labelled_images
    from snnconvert.evaluation.evaluate import Evaluation

    unused = ("solver", "grid", "steps", "seed", "dims", "schedule", *SOLVER_OPTIONS)
    given = [f"--{n.replace('_', '-')}" for n in unused if getattr(args, n) is not None]
    if given or args.precision_recall:
        given = given or ["--precision-recall"]
        raise InputError(f"{args.file}: is a classifier, {given[0]} applies to denoisers only")
    recipe = recipe_of(content, args.file)
    root = Path(args.data_root or recipe.data_root)
    images = labelled_images(args.against, root, args.image_size or recipe.image_size)
    found = classified(
        content, args.file, images, args.against, count=args.samples, stage=args.stage,
        simulate=args.simulate, device=args.device, batch_size=args.batch_size, progress=True,
    )  # fmt: skip
    result = {**found, "command": args.command_line}
    print(f"accuracy = {100 * found['accuracy']:.2f} %")
    print(f"of       {found['samples']} images of {args.against}: {args.file}, {found['stage']}")
    if out is not None:
        Evaluation(result).save(out)
        print(f"wrote {out}")


def open_evaluated(args: argparse.Namespace, content: dict[str, Any] | None) -> tuple[Source, Path]:
    """What FILE names, and where datasets are."""
    is_archive = Path(args.file).suffix == ".npz"
    if content is None:
        from snnconvert.images.sources import open_source

        given = [
            f"--{name.replace('_', '-')}"
            for name in (*DRAWING, *SOLVER_OPTIONS)
            if getattr(args, name) is not None
        ]
        if given:
            raise InputError(
                f"{args.file}: holds finished images, {given[0]} applies to checkpoints only"
            )
        root = Path(args.data_root or "data")
        return open_source(args.file, root, None if is_archive else args.image_size), root
    from snnconvert.checkpoint.content import schedule_for
    from snnconvert.diffusion.sampling import plan
    from snnconvert.evaluation.sampled import Drawing, SampledSource

    args.solver = args.solver or DEFAULT_SOLVER
    options = chosen_options(args, content, args.stage or content["stage"])
    schedule = schedule_for(content, args.file, args.schedule)
    steps = 20 if args.steps is None else args.steps
    chosen = plan(args.solver, steps, schedule, args.grid, **options)
    count = 10_000 if args.samples is None else args.samples
    drawing = Drawing(chosen, args.seed or 0, args.batch_size, args.threshold_scale)
    drawn = SampledSource(
        content, args.file, drawing, count, args.stage, args.simulate, args.device
    )
    return drawn, Path(args.data_root or content["recipe"].get("data_root", "data"))
