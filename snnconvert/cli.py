"""The command line: one sub-command per verb; parse, call, print. Heavy imports stay inside."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

from snnconvert import __version__
from snnconvert.errors import InputError, SnnconvertError
from snnconvert.source_arguments import add_source_arguments

REPORTED_BATCHES = 4  # of the calibration data, in the report of a conversion


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command; the exit code is 0, 2 for bad input, 130 after Ctrl-C."""
    parsed = build_parser().parse_args(arguments)
    try:
        code = parsed.run(parsed)
    except SnnconvertError as error:
        print(f"snnconvert: error: {error}", file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        print("snnconvert: interrupted", file=sys.stderr)
        return 130
    return code or 0


def build_parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="snnconvert",
        description="Convert artificial neural networks into spiking ones, without losing what "
        "they computed, and say exactly what was lost when something was.",
    )
    parser.add_argument("--version", action="version", version=__version__)
    commands = parser.add_subparsers(required=True, metavar="COMMAND")
    for add in (add_train, add_check, add_convert, add_sample, add_info):
        add(commands)
    return parser


def add_train(commands: argparse._SubParsersAction) -> None:
    command = commands.add_parser(
        "train",
        help="train a network from a recipe",
        description="Train the float and then the quantised network of a recipe. The same command "
        "again resumes an unfinished training.",
    )
    command.add_argument("recipe", metavar="RECIPE", help="TOML file, see recipes/")
    command.add_argument("-o", "--out", help="checkpoint to write (default: <recipe stem>.pt)")
    command.add_argument(
        "--set",
        action="append",
        default=[],
        metavar="KEY=VALUE",
        help="change a key of the recipe; may be repeated",
    )
    command.add_argument(
        "--dry-run",
        action="store_true",
        help="print the resolved recipe and the size of the network, then stop",
    )
    command.set_defaults(run=run_train)


def run_train(args: argparse.Namespace) -> None:
    from snnconvert.checkpoint import check_destination
    from snnconvert.recipe import load_recipe

    recipe = load_recipe(args.recipe, args.set)
    out = check_destination(args.out or f"{Path(args.recipe).stem}.pt")
    if args.dry_run:
        from snnconvert.describe import describe_recipe

        print(recipe.to_toml(), end="")
        print(describe_recipe(recipe))
        return
    from snnconvert.training import train

    print(f"wrote {train(recipe, out)}")


def settle_steps(text: str) -> int | str:
    """An integer, or the word auto."""
    if text == "auto":
        return text
    try:
        return int(text)
    except ValueError:
        raise argparse.ArgumentTypeError(
            f"found {text!r}, allowed are integers from 0 up and 'auto'"
        ) from None


def add_check(commands: argparse._SubParsersAction) -> None:
    command = commands.add_parser(
        "check",
        help="list everything that keeps a network from being converted",
        description="List every operation of a network that cannot be converted, with layer, "
        "reason and remedy. Exit code 0 when there is none, else 2.",
    )
    add_source_arguments(command)
    command.set_defaults(run=run_check)


def run_check(args: argparse.Namespace) -> int:
    from snnconvert.conversion.check import check
    from snnconvert.sources import source_of

    source = source_of(args)
    problems = check(source.model, source.examples)
    for problem in problems:
        print(problem)
    print(f"{source.name}: {len(problems) or 'no'} problem{'s' * (len(problems) != 1)}")
    return 2 if problems else 0


def add_convert(commands: argparse._SubParsersAction) -> None:
    command = commands.add_parser(
        "convert",
        help="turn a network into a spiking one and report the error",
        description="Rewrite a network into a spiking one and measure it: on the real images in a "
        "checkpoint, noised over the whole diffusion, or on the inputs of --calibrate.",
    )
    add_source_arguments(command)
    command.add_argument(
        "--threshold",
        default="mse",
        help="of plain activations: mse (default), max, percentile, a percentage such as 99.5%%, "
        "or learned",
    )
    command.add_argument(
        "--per-layer", action="store_true", help="one threshold a layer instead of a channel"
    )
    command.add_argument(
        "--no-bias-correction", action="store_true", help="leave the mean of each channel as it is"
    )
    command.add_argument(
        "--weights",
        choices=("kept", "blocks", "distilled"),
        default="kept",
        help="kept (default); blocks: train weights on the --calibrate inputs, block by block, to "
        "give what the float network gives (minutes, no labels); distilled: then all of them, to "
        "give its output",
    )
    command.add_argument(
        "--timesteps",
        type=int,
        default=4,
        metavar="T",
        help="steps in which the input is presented (default 4)",
    )
    command.add_argument(
        "--firing",
        choices=("immediate", "deferred"),
        default="immediate",
        help="fire while integrating (default), or integrate first",
    )
    sign = command.add_mutually_exclusive_group()
    sign.add_argument(
        "--signed",
        dest="signed",
        action="store_true",
        default=True,
        help="spikes may be taken back by negative ones (default)",
    )
    sign.add_argument(
        "--unsigned",
        dest="signed",
        action="store_false",
        help="classical neurons without negative spikes",
    )
    command.add_argument(
        "--settle",
        type=settle_steps,
        default="auto",
        metavar="K|auto",
        help="input-free steps after the T; auto (default): until silence",
    )
    command.add_argument(
        "--simulate",
        choices=("steps", "counts"),
        default="steps",
        help="run the clock (default), or one pass where that is exact",
    )
    command.add_argument(
        "--norm",
        choices=("accumulated", "per_step"),
        default="accumulated",
        help="what norms see; per_step reproduces the published SDM rule",
    )
    command.add_argument("--neuron", choices=("if",), default="if", help="kind of neuron")
    command.add_argument("-o", "--out", help="file to write (default: <FILE stem>.snn.pt)")
    command.set_defaults(run=run_convert)


def run_convert(args: argparse.Namespace) -> None:
    from snnconvert.checkpoint import check_destination
    from snnconvert.conversion.convert import convert
    from snnconvert.loading import save
    from snnconvert.report.compare import compare
    from snnconvert.report.table import format_report
    from snnconvert.sources import source_of

    named = args.file or args.model.partition(":")[2] if args.file or args.model else "network"
    out = Path(args.out) if args.out else Path(named).with_name(f"{Path(named).stem}.snn.pt")
    source = source_of(args)
    check_destination(out)
    report_path = check_destination(out.with_name(f"{out.stem}.report.json"))
    if args.file and out.resolve() == Path(args.file).resolve():
        raise InputError(f"{out}: is the input itself; choose another output with -o")
    snn = convert(
        source.model, args.timesteps, example_inputs=source.examples, calibration=source.batches,
        firing=args.firing, signed=args.signed, settle=args.settle, simulate=args.simulate,
        norm=args.norm, neuron=args.neuron, threshold=args.threshold,
        per_channel=not args.per_layer, bias_correction=not args.no_bias_correction,
        weights=args.weights,
    )  # fmt: skip
    if source.batches is None and source.examples is None:
        raise InputError("--calibrate: needed to measure a network from a .pt2 file")
    batches = (source.batches or [source.examples])[: REPORTED_BATCHES if args.calibrate else None]
    report = compare(source.model, snn, batches, float_ann=source.float_ann)
    save(snn, out, like=source.content)
    report.save(report_path)
    print(format_report(report.to_dict()))
    print(f"\nwrote {out} and {report_path}")


def add_sample(commands: argparse._SubParsersAction) -> None:
    command = commands.add_parser(
        "sample",
        help="draw images from a network",
        description="Draw images from any network of a checkpoint. Equal seeds start from equal "
        "noise, whatever the network and the batch size.",
    )
    command.add_argument("file", metavar="FILE", help="checkpoint")
    command.add_argument(
        "--stage",
        choices=("ann", "qann", "snn"),
        help="which network, where the file holds several",
    )
    command.add_argument("--solver", default="ddim", help="ddim (default) or ddpm")
    command.add_argument("--steps", type=int, default=50, help="solver steps (default 50)")
    command.add_argument("-n", "--count", type=int, default=64, help="images (default 64)")
    command.add_argument("--seed", type=int, default=0, help="default 0")
    command.add_argument("--batch-size", type=int, default=32, help="images at once (default 32)")
    command.add_argument("-o", "--out", default="samples.png", help="PNG (default samples.png)")
    command.set_defaults(run=run_sample)


def run_sample(args: argparse.Namespace) -> None:
    from snnconvert.checkpoint import check_destination, read_checkpoint
    from snnconvert.diffusion.sampling import sample
    from snnconvert.loading import network_from
    from snnconvert.pictures import grid, save_png
    from snnconvert.probe import recipe_of, schedule_of

    out = check_destination(args.out)
    content = read_checkpoint(args.file)
    recipe = recipe_of(content, args.file)
    network = network_from(content, args.stage, args.file)
    channels = content["probe"].shape[1]
    images = sample(
        network, (channels, recipe.image_size, recipe.image_size), solver=args.solver,
        steps=args.steps, count=args.count, seed=args.seed, batch_size=args.batch_size,
        schedule=schedule_of(recipe), progress=True,
    )  # fmt: skip
    save_png(out, grid(images))
    print(f"wrote {out}")


def add_info(commands: argparse._SubParsersAction) -> None:
    command = commands.add_parser("info", help="say what a checkpoint holds")
    command.add_argument("file", metavar="FILE", help="checkpoint")
    command.set_defaults(run=run_info)


def run_info(args: argparse.Namespace) -> None:
    from snnconvert.checkpoint import read_checkpoint
    from snnconvert.describe import describe_checkpoint

    print(describe_checkpoint(read_checkpoint(args.file), args.file))
