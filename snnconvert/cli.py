"""The command line: one sub-command per verb; parse, call, print. Heavy imports stay inside."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

from snnconvert import __version__
from snnconvert.cli_sampling import add_moments, add_sample
from snnconvert.errors import InputError, SnnconvertError


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command; the exit code is 0, 2 for bad input, 130 after Ctrl-C."""
    parsed = build_parser().parse_args(arguments)
    try:
        parsed.run(parsed)
    except SnnconvertError as error:
        print(f"snnconvert: error: {error}", file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        print("snnconvert: interrupted", file=sys.stderr)
        return 130
    return 0


def build_parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="snnconvert",
        description="Convert artificial neural networks into spiking ones, without losing what "
        "they computed, and say exactly what was lost when something was.",
    )
    parser.add_argument("--version", action="version", version=__version__)
    commands = parser.add_subparsers(required=True, metavar="COMMAND")
    for add in (add_train, add_convert, add_sample, add_moments, add_info):
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


def add_convert(commands: argparse._SubParsersAction) -> None:
    command = commands.add_parser(
        "convert",
        help="turn a quantised network into a spiking one and report the error",
        description="Rewrite the quantised network of a checkpoint into a spiking one and measure "
        "it on the real images in the checkpoint, noised over the whole diffusion.",
    )
    command.add_argument("ann", metavar="ANN", help="checkpoint with a quantised network")
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
    command.add_argument("-o", "--out", help="file to write (default: <ANN stem>.snn.pt)")
    command.set_defaults(run=run_convert)


def run_convert(args: argparse.Namespace) -> None:
    source = Path(args.ann)
    out = Path(args.out) if args.out else source.with_name(f"{source.stem}.snn.pt")
    from snnconvert.checkpoint import check_destination, read_checkpoint
    from snnconvert.conversion.convert import convert
    from snnconvert.loading import network_from, save
    from snnconvert.probe import probe_batches
    from snnconvert.report.compare import compare
    from snnconvert.report.table import format_report

    content = read_checkpoint(source)
    if "qann" not in content["networks"]:
        held = ", ".join(content["networks"])
        raise InputError(
            f"{source}: holds no quantised network to convert, only: {held}; "
            "train one with `snnconvert train` and levels above 0"
        )
    check_destination(out)
    report_path = check_destination(out.with_name(f"{out.stem}.report.json"))
    if out.resolve() == source.resolve():
        raise InputError(f"{out}: is the input itself; choose another output with -o")
    qann = network_from(content, "qann", str(source))
    ann = network_from(content, "ann", str(source)) if "ann" in content["networks"] else None
    batches = probe_batches(content, str(source))
    snn = convert(
        qann, args.timesteps, example_inputs=batches[0], firing=args.firing, signed=args.signed,
        settle=args.settle, simulate=args.simulate, norm=args.norm, neuron=args.neuron,
    )  # fmt: skip
    report = compare(qann, snn, batches, float_ann=ann)
    save(snn, out, like=content)
    report.save(report_path)
    print(format_report(report.to_dict()))
    print(f"\nwrote {out} and {report_path}")


def add_info(commands: argparse._SubParsersAction) -> None:
    command = commands.add_parser("info", help="say what a checkpoint holds")
    command.add_argument("file", metavar="FILE", help="checkpoint")
    command.set_defaults(run=run_info)


def run_info(args: argparse.Namespace) -> None:
    from snnconvert.checkpoint import read_checkpoint
    from snnconvert.describe import describe_checkpoint

    print(describe_checkpoint(read_checkpoint(args.file), args.file))
