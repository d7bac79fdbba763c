"""The command `report`: a converted network against its ANN, or a native one by itself."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import TYPE_CHECKING, Any

from snnconvert.cli.arguments.lazy import Commands, add_command
from snnconvert.cli.arguments.options import add_device, add_source_arguments
from snnconvert.cli.arguments.output import add_output_options, destination, say
from snnconvert.cli.arguments.progress import counted, phases
from snnconvert.errors import CheckpointError, InputError

if TYPE_CHECKING:
    from snnconvert.conversion.spiking.network import SpikingNetwork

TIMED = 16  # images of the timed call


def add_report(commands: Commands) -> None:
    add_command(
        commands,
        "report",
        run_report,
        add_arguments,
        help="what a conversion lost, where, and what would help, as a page; or what a native "
        "spiking network does",
        description="`report ANN SNN`: hold a converted network against what it was converted "
        "from, on the real images in a checkpoint of ours or on --data, and write one HTML page "
        "with JSON and CSV beside it. `report FILE`: measure a native spiking network on the "
        "held-out images in its checkpoint, noised over the whole diffusion.",
    )


def add_arguments(command: argparse.ArgumentParser) -> None:
    add_source_arguments(command)
    command.add_argument("snn", metavar="SNN", nargs="?", help="what `convert` made of FILE")
    command.add_argument("-o", "--out", help="page to write (.html; default: <SNN stem>."
                         "report.html), of a native network JSON")  # fmt: skip
    command.add_argument("--no-advice", dest="advice", action="store_false",
                         help="do not try what would help")  # fmt: skip
    command.add_argument("--spikes", metavar="LAYER", action="append", default=[],
                         help="also write thresholds, start potentials, rates and spike trains of "
                         "this layer (a name, or a pattern such as 'up.*'), as .npz and CSV "
                         "beside the page; may be repeated")  # fmt: skip
    command.add_argument("--spike-inputs", type=int, default=16, metavar="N",
                         help="inputs whose spikes are written (default 16)")  # fmt: skip
    add_device(command)
    add_output_options(command, slow=True)


def run_report(args: argparse.Namespace) -> None:
    if args.snn is None and not args.model:
        run_native(args)
        return
    from snnconvert.cli.arguments.network_argument import ann_and_snn
    from snnconvert.common.denoises import facts_of, with_facts
    from snnconvert.files.atomic import write_together
    from snnconvert.report.examine import examine
    from snnconvert.report.pictures import drawing_of
    from snnconvert.report.show.files import report_paths, report_writers
    from snnconvert.report.show.terminal import format_report
    from snnconvert.report.spikes import chosen_layers, record_spikes, spike_writers

    named, snn, file = ann_and_snn(args)
    with_facts(snn, facts_named(args, snn))
    stem = file.removesuffix(".pt")
    paths = report_paths(args.out or f"{stem}.report.html")
    layers = chosen_layers(snn, args.spikes)
    inputs = named.batches or [named.examples]
    with phases(args) as show:
        found = examine(
            named.model, snn, counted(inputs, show, "errors by layer"),
            float_ann=named.float_ann, advice=args.advice,
            drawing=drawing_of(named.checkpoint, snn, facts_of(snn)), on_phase=show,
        )  # fmt: skip
        writers = report_writers(found, paths, Path(file).name)
        if layers:
            show("spike trains")
            trains = record_spikes(snn, inputs, layers, inputs=args.spike_inputs)
            writers |= spike_writers(trains, paths[".html"])
    write_together(writers)
    text = format_report(found.content)
    say(args, f"{text}\n\nwrote {', '.join(map(str, writers))}", found.content)


def facts_named(args: argparse.Namespace, snn: SpikingNetwork) -> dict[str, Any]:
    """What the command line says of a denoiser: its noise, its times.

    Raises:
        InputError: it contradicts what the file says of `snn`.
    """
    from snnconvert.diffusion.denoiser import schedule_for, t_range_for
    from snnconvert.diffusion.schedule import named_schedule

    noise = {}
    if args.schedule is not None:
        noise["schedule"] = schedule_for(snn, named_schedule(args.schedule))
    times = {} if args.t_range is None else {"t_range": t_range_for(snn, args.t_range)}
    return {**noise, **times}


def run_native(args: argparse.Namespace) -> None:
    from snnconvert.checkpoint.checkpoint import Checkpoint
    from snnconvert.common.hardware import checked_device
    from snnconvert.files.atomic import save_json
    from snnconvert.report.measures.timing import seconds_per_call
    from snnconvert.report.native import native_report
    from snnconvert.report.show.native import format_native

    if not args.file:
        raise InputError("name a native spiking network, or an ANN and the SNN made of it")
    device = checked_device(args.device)
    out = destination(args, args.out or f"{args.file.removesuffix('.pt')}.report.json")
    checkpoint = Checkpoint.read(args.file)
    if "spiking" not in checkpoint.stages:
        held = ", ".join(checkpoint.stages)
        raise CheckpointError(
            f"{args.file}: holds no native spiking network, only: {held}; of a converted network "
            "`snnconvert report ANN SNN` tells what it lost"
        )
    network: Any = checkpoint.network("spiking").to(device)
    batches: Any = [tuple(v.to(device) for v in call) for call in checkpoint.probe_batches()]
    x, t = (value[:TIMED] for value in batches[0])
    seconds = seconds_per_call({"spiking": network}, (x, t), {})["spiking"]
    cost, rates = native_report(network, batches)
    found = {
        "file": args.file,
        "timesteps": network.config.timesteps,
        "tsm": network.config.tsm,
        "images": sum(len(batch[0]) for batch in batches),
        "cost": cost,
        "seconds_per_image": seconds / len(x),
        "firing_rates": rates,
    }
    save_json(found, out)
    say(args, f"{format_native(found, network)}\n\nwrote {out}", found)
