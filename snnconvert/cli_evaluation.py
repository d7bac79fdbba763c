"""The commands `stats` and `evaluate`. Heavy imports stay inside."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

from snnconvert.cli_conversion import is_classifier
from snnconvert.cli_sampling import (
    DEFAULT_SOLVER,
    SOLVER_OPTIONS,
    STAGES,
    add_solver_options,
    add_threshold_scale,
    chosen_options,
)
from snnconvert.errors import InputError
from snnconvert.source_arguments import add_schedule

if TYPE_CHECKING:
    from snnconvert.evaluation.sources import Source, StoredSource
    from snnconvert.evaluation.statistics import Statistics

IMAGES = "dataset (NAME or NAME:test), folder of images, or .npz of uint8 images"
DRAWING = ("stage", "solver", "grid", "steps", "seed", "simulate", "schedule")


def add_stats(commands: argparse._SubParsersAction) -> None:
    command = commands.add_parser(
        "stats",
        help="compute the statistics of a set of images for the FID",
        description="Mean and covariance of Inception features, streamed, in the .npz of "
        "pytorch-fid. Computed once: the same images, number and feature size are cached.",
    )
    command.add_argument("data", metavar="DATA", help=IMAGES)
    command.add_argument("-o", "--out", required=True, help=".npz to write")
    command.add_argument("--dims", type=int, default=2048, help="64, 192, 768 or 2048 (default)")
    command.add_argument("--count", type=int, help="only the first COUNT images (default: all)")
    command.add_argument("--batch-size", type=int, default=32, help="images at once (default 32)")
    add_device(command)
    add_image_options(command, "data")
    command.set_defaults(run=run_stats)


def add_device(command: argparse.ArgumentParser) -> None:
    command.add_argument("--device", default="auto", help="auto (default), cpu, cuda, cuda:1, ...")


def add_image_options(command: argparse.ArgumentParser, data_root: str | None) -> None:
    command.add_argument(
        "--data-root",
        default=data_root,
        help="where torchvision keeps datasets"
        + (f" (default {data_root})" if data_root else " (default: as the checkpoint was trained)"),
    )
    command.add_argument(
        "--image-size",
        type=int,
        metavar="N",
        help="size of a dataset's images, or to crop and resize a folder's to",
    )


def run_stats(args: argparse.Namespace) -> None:
    from snnconvert.checkpoint import check_destination
    from snnconvert.evaluation.cache import checked_count, statistics_of
    from snnconvert.evaluation.features import Inception, check_dims
    from snnconvert.evaluation.sources import open_source
    from snnconvert.hardware import checked_device

    out = check_destination(args.out)
    if out.suffix != ".npz":
        raise InputError(f"{out}: statistics are an .npz, which pytorch-fid tells by the name")
    check_dims(args.dims)
    check_batch_size(args.batch_size)
    checked_device(args.device)
    source = open_source(args.data, Path(args.data_root), args.image_size)
    checked_count(source, args.count)
    statistics = statistics_of(
        source,
        Inception(args.dims, args.device),
        args.count,
        batch_size=args.batch_size,
        progress=True,
    )
    if statistics.singular:
        print(
            f"snnconvert: warning: {statistics.count} images for {statistics.dims} features: the "
            "covariance is singular and a FID against it biased upwards",
            file=sys.stderr,
        )
    statistics.save(out)
    height, width = statistics.image_size
    print(
        f"wrote {out}: {statistics.count} images of {source.name}, {width} x {height}, "
        f"{statistics.dims} features, Inception {statistics.weights}"
    )


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
    from snnconvert.checkpoint import check_destination
    from snnconvert.evaluation.cache import checked_count
    from snnconvert.evaluation.evaluate import check_comparable, evaluate
    from snnconvert.evaluation.features import Inception, check_dims
    from snnconvert.evaluation.statistics import Statistics
    from snnconvert.evaluation.table import format_evaluation
    from snnconvert.hardware import checked_device

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
    from snnconvert.checkpoint import read_checkpoint
    from snnconvert.datasets import DATASETS

    path = Path(args.file)
    if path.suffix == ".npz" or path.is_dir() or args.file.partition(":")[0] in DATASETS:
        return None
    return read_checkpoint(path)


def run_accuracy(args: argparse.Namespace, content: dict[str, Any], out: Path | None) -> None:
    """Accuracy of a classifier."""
    from snnconvert.evaluation.classified import classified, labelled_images
    from snnconvert.evaluation.evaluate import Evaluation
    from snnconvert.probe import recipe_of

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
        from snnconvert.evaluation.sources import open_source

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
    from snnconvert.diffusion.sampling import plan
    from snnconvert.evaluation.sampled import Drawing, SampledSource
    from snnconvert.probe import schedule_for

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


def open_reference(
    data: str, root: Path, image_size: int | None, like: Source
) -> Statistics | StoredSource:
    """What --against names; a dataset comes in the size of the images that it is compared with."""
    from snnconvert.datasets import DATASETS
    from snnconvert.evaluation.sources import open_source
    from snnconvert.evaluation.statistics import holds_statistics, load_statistics

    if holds_statistics(data):
        return load_statistics(data)
    if Path(data).suffix == ".npz":
        return open_source(data, root)
    if data.partition(":")[0] in DATASETS and image_size is None:
        image_size = max(like.image_size)
    return open_source(data, root, image_size)


def check_batch_size(batch_size: int) -> None:
    if batch_size < 1:
        raise InputError(f"--batch-size: found {batch_size}, allowed are 1 and more")
