"""The commands that convert a network."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import TYPE_CHECKING, Any

from snnconvert.errors import InputError
from snnconvert.source_arguments import add_source_arguments

if TYPE_CHECKING:
    from torch import nn

    from snnconvert.conversion.network import SpikingNetwork


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


def start_potential(text: str) -> float | str:
    """A number, or the word half or optimised."""
    if text in ("half", "optimised"):
        return text
    try:
        return float(text)
    except ValueError:
        raise argparse.ArgumentTypeError(
            f"found {text!r}, allowed are numbers, 'half' and 'optimised'"
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
    add_conversion_options(command)
    add_reset(command, "call")
    command.add_argument("-o", "--out", help="file to write (default: <FILE stem>.snn.pt)")
    command.set_defaults(run=run_convert)


def add_conversion_options(command: argparse.ArgumentParser) -> None:
    """How the network spikes; `conversion_options` reads them back."""
    add = command.add_argument_group("spiking").add_argument
    add("--timesteps", type=int, default=4, metavar="T",
        help="steps in which the input is presented (default 4)")  # fmt: skip
    add("--firing", choices=("immediate", "deferred"), default="immediate",
        help="fire while integrating (default), or integrate first")  # fmt: skip
    add("--code", choices=("rate", "radix"), default="rate",
        help="what T spikes mean: their number (default; T levels), or their binary number "
        "(2^T - 1 levels, needs --firing deferred)")  # fmt: skip
    add("--settle", type=settle_steps, metavar="K|auto",
        help="input-free steps after the T; auto (default): until silence")  # fmt: skip
    add("--simulate", choices=("steps", "counts"), default="steps",
        help="run the clock (default), or one pass where that is exact")  # fmt: skip
    add("--norm", choices=("accumulated", "per_step"), default="accumulated",
        help="what norms see; per_step reproduces the published SDM rule")  # fmt: skip
    add_neuron_options(command)
    add_threshold_options(command)


def add_neuron_options(command: argparse.ArgumentParser) -> None:
    group = command.add_argument_group("neurons")
    sign = group.add_mutually_exclusive_group()
    sign.add_argument("--signed", dest="signed", action="store_true", default=None,
                      help="spikes may be taken back by negative ones (default, where nothing "
                      "leaks)")  # fmt: skip
    sign.add_argument("--unsigned", dest="signed", action="store_false",
                      help="classical neurons without negative spikes")  # fmt: skip
    add = group.add_argument
    add("--neuron", choices=("if", "lif"), default="if",
        help="integrate and fire (default), or with a leak, fitted to the "
        "calibration inputs")  # fmt: skip
    add("--tau", type=float, default=2.0, metavar="STEPS",
        help="membrane time constant of --neuron lif (default 2)")  # fmt: skip
    add("--hard-reset", dest="v_reset", action="store_const", const=0.0,
        help="set the potential to zero after a spike instead of subtracting the "
        "threshold")  # fmt: skip
    add("--v-init", type=start_potential, default="half", metavar="V|half|optimised",
        help="start of the potential, in thresholds (default half), or each channel's own, fitted "
        "to the calibration inputs")  # fmt: skip


def add_threshold_options(command: argparse.ArgumentParser) -> None:
    add = command.add_argument_group("thresholds").add_argument
    add("--threshold", default="mse", metavar="RULE",
        help="of plain activations: mse (default), max, percentile, a percentage such as 99.5%%, "
        "or learned")  # fmt: skip
    add("--per-layer", dest="per_channel", action="store_false",
        help="one threshold a layer instead of a channel")  # fmt: skip
    add("--thresholds-over-t", type=int, default=1, metavar="N",
        help="for denoisers: a table of N thresholds over the range of t, looked up once a call "
        "(default 1: the same for all t)")  # fmt: skip
    add("--t-argument", metavar="NAME",
        help="which input is t, where it is not called t, timestep, time, ...")  # fmt: skip
    add("--no-bias-correction", dest="bias_correction", action="store_false",
        help="leave the mean of each channel as it is")  # fmt: skip
    add("--weights", choices=("kept", "blocks", "distilled"), default="kept",
        help="kept (default); blocks: train weights on the --calibrate inputs, block by block, to "
        "give what the float network gives (minutes, no labels); distilled: then all of them, to "
        "give its output")  # fmt: skip


def conversion_options(args: argparse.Namespace) -> dict[str, Any]:
    """The arguments of `convert` that `add_conversion_options` read."""
    names = ("timesteps", "firing", "code", "settle", "simulate", "norm", "signed", "neuron",
             "tau", "v_reset", "v_init", "threshold", "per_channel", "bias_correction",
             "thresholds_over_t", "t_argument", "weights")  # fmt: skip
    return {name: getattr(args, name) for name in names}


def add_reset(command: argparse.ArgumentParser, default: str | None) -> None:
    command.add_argument(
        "--reset",
        choices=("call", "trajectory"),
        default=default,
        help="when spike counts start at zero: in every network call, or once, so that a "
        "solver's calls are one continuous run (default: "
        f"{default or 'as the file says'})",
    )


def paths_of(
    qann: nn.Module, snn: SpikingNetwork, content: dict[str, Any], source: str
) -> list[dict[str, Any]]:
    """A short look along two solvers' paths; `snnconvert trajectory` takes a longer one."""
    from snnconvert.diffusion.solvers import SOLVERS
    from snnconvert.probe import recipe_of, schedule_of
    from snnconvert.report.trajectory import follow

    recipe, channels = recipe_of(content, source), content["probe"].shape[1]
    steps = min(10, recipe.diffusion_steps)
    return [
        follow(qann, snn, (2, channels, recipe.image_size, recipe.image_size), solver=solver,
               steps=steps, schedule=schedule_of(recipe),
               **({"clip": True} if SOLVERS[solver].clips else {}))
        for solver in ("ddim", "dpm-solver++")
    ]  # fmt: skip


def is_classifier(content: dict[str, Any], source: str) -> bool:
    """Whether a checkpoint's networks tell classes; without a recipe they do not."""
    from snnconvert.probe import recipe_of

    return bool(content["recipe"]) and recipe_of(content, source).family.task == "classes"


def run_convert(args: argparse.Namespace) -> None:
    from snnconvert.checkpoint import check_destination, write_together, writer_of
    from snnconvert.conversion.convert import convert
    from snnconvert.loading import config_of, content_of
    from snnconvert.report.compare import compare
    from snnconvert.report.table import format_report
    from snnconvert.sources import source_of

    named = args.file or args.model.partition(":")[2] if args.file or args.model else "network"
    out = Path(args.out) if args.out else Path(named).parent / f"{Path(named).stem}.snn.pt"
    source = source_of(args)
    check_destination(out)
    report_path = check_destination(out.with_name(f"{out.stem}.report.json"))
    if args.file and out.resolve() == Path(args.file).resolve():
        raise InputError(f"{out}: is the input itself; choose another output with -o")
    if source.batches is None and source.examples is None:
        raise InputError(
            f"{source.name}: --calibrate is needed: inputs for calibration and for the report"
        )
    snn = convert(
        source.model, example_inputs=source.examples, calibration=source.batches,
        reset=args.reset, **conversion_options(args),
    )  # fmt: skip
    report = compare(source.model, snn, source.reported(), float_ann=source.float_ann)
    if source.content is not None and not is_classifier(source.content, source.name):
        qann = source.model if source.stage == "qann" else snn.quantized_ann()
        report = report.extended(trajectory=paths_of(qann, snn, source.content, source.name))
    content = content_of(snn, like=source.content)
    write_together({out: writer_of(content), report_path: report.write})
    print(format_report(report.to_dict()))
    trained = config_of(source.model).levels if source.stage == "qann" else snn.config.levels
    if trained != snn.config.levels:
        print(f"note: trained at {trained} levels, converted at {snn.config.levels}: the quantised "
              "ANN above rounds otherwise than the one that was trained")  # fmt: skip
    print(f"\nwrote {out} and {report_path}")
