"""The command `convert`: a network into a spiking one, and its report."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import TYPE_CHECKING, Any

from snnconvert.cli.arguments.lazy import Commands, add_command
from snnconvert.cli.arguments.options import (
    add_conversion_options,
    add_device,
    add_reset,
    add_source_arguments,
    conversion_options,
)
from snnconvert.cli.arguments.origin import add_out, denoiser_facts, origin_of, out_of, replaced
from snnconvert.cli.arguments.output import add_output_options, say
from snnconvert.cli.arguments.progress import phases
from snnconvert.cli.arguments.solver_options import add_prediction
from snnconvert.errors import InputError

if TYPE_CHECKING:
    from collections.abc import Callable

    from snnconvert.cli.arguments.named_network import NamedNetwork
    from snnconvert.conversion.spiking.network import SpikingNetwork
    from snnconvert.diffusion.sampling.solver_path import SolverPath
    from snnconvert.report.examine import Examination


def add_convert(commands: Commands) -> None:
    add_command(
        commands,
        "convert",
        run_convert,
        add_arguments,
        help="turn a network into a spiking one and report the error",
        description="Rewrite a network into a spiking one and measure it: on the real images in a "
        "checkpoint, noised over the whole diffusion, or on the inputs of --calibrate.",
    )


def add_arguments(command: argparse.ArgumentParser) -> None:
    add_source_arguments(command)
    add_prediction(command)
    command.add_argument(
        "--solver-path", action=argparse.BooleanOptionalAction, default=True,
        help="fit the thresholds of a denoiser also to what a solver visits, where its schedule is "
        "known and there are thresholds to fit (default; half a minute for the shipped U-Net, on "
        "one thread)",
    )  # fmt: skip
    add_conversion_options(command)
    add_reset(command, "call")
    add_device(command)
    command.add_argument("--max-error", type=float, metavar="ERROR", help="choose T: the smallest "
                         "(up to 64; radix: 12) whose output is so close to the float network's, "
                         "relative, in place of --timesteps")  # fmt: skip
    add_out(command, "snn", "converted")
    command.add_argument("--no-page", dest="page", action="store_false", help="write the report "
                         "as JSON alone, without the closer look that its page takes")  # fmt: skip
    add_output_options(command, slow=True)


def solver_path(args: argparse.Namespace, named: NamedNetwork) -> SolverPath | None:
    """The path that thresholds are fitted to; None where it is unknown or there is nothing to fit.

    A network that returns something else than one prediction of x's shape is calibrated without.
    """
    import torch

    from snnconvert.cli.arguments.calibration_argument import noise_of
    from snnconvert.common.warning import warn
    from snnconvert.conversion.graph.values import leaves
    from snnconvert.diffusion.sampling.solver_path import SolverPath

    if not args.solver_path or named.quantised or not named.batches:
        return None
    noise, batch = noise_of(args, named), named.batches[0]
    if noise is None or len(batch) < 2:
        return None
    with torch.no_grad():
        found = leaves(named.model(*batch))
    if [value.shape for value in found] != [batch[0].shape]:
        warn("the network does not return one prediction of x's shape, so that no solver can "
             "follow it; thresholds are fitted to noised data alone")  # fmt: skip
        return None
    own = args.prediction or named.known.get("prediction")
    own = named.checkpoint.predicts(args.prediction) if named.checkpoint else own
    return SolverPath(noise, own, t_range=args.t_range, data_range=named.data_range)


def run_convert(args: argparse.Namespace) -> None:
    from snnconvert.checkpoint.format import writer_of
    from snnconvert.checkpoint.networks import content_of
    from snnconvert.cli.arguments.network_argument import named_network
    from snnconvert.common.denoises import with_facts
    from snnconvert.conversion.convert import convert
    from snnconvert.files.atomic import Writer, write_together
    from snnconvert.report.show.files import report_paths, report_writers
    from snnconvert.report.show.terminal import format_report

    out = out_of(args, "snn")
    named = named_network(args)
    facts = denoiser_facts(args, named)
    paths = report_paths(out.with_name(f"{out.stem}.report.html"))
    before = replaced(args, out)
    if named.batches is None and named.examples is None:
        raise InputError(
            f"{named.name}: --calibrate is needed: inputs for calibration and for the report"
        )
    with phases(args) as show:
        options = chosen_options(args, named, show)
        show("thresholds and weights")
        snn = convert(
            named.model, example_inputs=named.examples, calibration=named.batches,
            reset=args.reset, share=True, path=solver_path(args, named), **options,
        )  # fmt: skip
        found = reported(args, named, with_facts(snn, facts), show)
        content = content_of(snn, like=named.checkpoint)
        content["provenance"] = {**content["provenance"], "converted_from": origin_of(args)}
        files: dict[str | Path, Writer] = {paths[".json"]: found.report.write}
        if args.page:
            show("the page")
            files = report_writers(found, paths, out.name)
        write_together({out: writer_of(content), **files})
    text = format_report(found.content)
    trained = named.levels if named.quantised else snn.config.levels
    if trained != snn.config.levels:
        text += (f"\nnote: trained at {trained} levels, converted at {snn.config.levels}: the "
                 "quantised ANN above rounds otherwise than the one that was trained")  # fmt: skip
    say(args, f"{text}\n\nwrote {out}{before} and {', '.join(map(str, files))}", found.content)


def chosen_options(
    args: argparse.Namespace, named: NamedNetwork, show: Callable[[str], None]
) -> dict[str, Any]:  # fmt: skip
    """The options of `convert`, with the number of timesteps that --max-error needs."""
    from snnconvert.report.trials.sweep import timesteps_for

    options = conversion_options(args)
    if args.max_error is not None:
        del options["timesteps"]
        options["timesteps"] = timesteps_for(
            args.max_error, ann=named.model, example_inputs=named.examples,
            calibration=named.batches or [named.examples], float_ann=named.float_ann,
            on_trial=lambda steps: show(f"tried: T = {steps}"), **options,
        )  # fmt: skip
    return options


def reported(
    args: argparse.Namespace, named: NamedNetwork, snn: SpikingNetwork, show: Callable[[str], None]
) -> Examination:  # fmt: skip
    """The report of a conversion, with the closer look that a page takes if one is wanted."""
    from snnconvert.common.denoises import facts_of
    from snnconvert.report.compare import compare
    from snnconvert.report.examine import Examination, examine
    from snnconvert.report.pictures import drawing_of
    from snnconvert.report.trajectory import paths_of

    if args.page:
        drawing = drawing_of(named.checkpoint, snn, facts_of(snn))
        found = examine(named.model, snn, named.reported(), float_ann=named.float_ann,
                        calibration=named.batches, drawing=drawing, on_phase=show)  # fmt: skip
    else:
        show("errors by layer")
        found = Examination(compare(named.model, snn, named.reported(), float_ann=named.float_ann))
    if named.checkpoint is None or named.checkpoint.is_classifier:
        return found
    show("along a solver's path")
    qann = named.model if named.quantised else snn.quantized_ann()
    paths = paths_of(qann, snn, named.checkpoint)
    return Examination(found.report.extended(trajectory=paths), found.images)
