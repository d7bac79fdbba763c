"""The command `quantize`: a network with quantised clips for activations, to be trained further."""

from __future__ import annotations

import argparse
from typing import Any

from snnconvert.cli.arguments.lazy import Commands, add_command
from snnconvert.cli.arguments.options import (
    add_ceiling_options,
    add_code,
    add_device,
    add_source_arguments,
)
from snnconvert.cli.arguments.origin import add_out, denoiser_facts, origin_of, out_of, replaced
from snnconvert.cli.arguments.output import add_output_options, say
from snnconvert.cli.arguments.progress import phases
from snnconvert.cli.arguments.solver_options import add_prediction
from snnconvert.errors import InputError

TIMESTEPS = 4  # as of `convert`


def add_quantize(commands: Commands) -> None:
    add_command(
        commands,
        "quantize",
        run_quantize,
        add_arguments,
        help="put quantised clips in place of a network's activations",
        description="Write a network with quantised clips in place of its activations, to be "
        "trained further in Python (`load`, `save`) and converted: `convert` with as many levels "
        "loses nothing of it.",
    )


def add_arguments(command: argparse.ArgumentParser) -> None:
    add_source_arguments(command, usual_stage="ann")
    add_prediction(command)
    add = command.add_argument_group("levels").add_mutually_exclusive_group().add_argument
    add("--levels", type=int, metavar="N", help="steps above zero of every activation")
    add("--timesteps", type=int, metavar="T", help="as many levels as T spikes tell (default "
        f"{TIMESTEPS})")  # fmt: skip
    add_code(command.add_argument)
    add_ceiling_options(command)(
        "--bias-correction", action="store_true", help="bring the mean of each channel back to the "
        "float network's; training does so by itself",
    )  # fmt: skip
    add_device(command)
    add_out(command, "qann", "quantised")
    add_output_options(command, slow=True)


def levels_of(args: argparse.Namespace) -> int:
    """The levels that the arguments give. InputError for timesteps out of range, or two answers."""
    from snnconvert.conversion.spiking.config import SpikingConfig, spiking_config

    if args.levels is not None:
        if args.code != "rate":
            raise InputError("--code: says what --timesteps carry; leave it out beside --levels")
        return int(args.levels)
    timesteps = TIMESTEPS if args.timesteps is None else args.timesteps
    spiking_config(timesteps=timesteps, code=args.code)
    return SpikingConfig.levels_of(args.code, timesteps)


def run_quantize(args: argparse.Namespace) -> None:
    from snnconvert.checkpoint.format import save_checkpoint
    from snnconvert.checkpoint.networks import content_of
    from snnconvert.cli.arguments.network_argument import named_network
    from snnconvert.common.denoises import with_facts
    from snnconvert.common.words import counted
    from snnconvert.conversion.quantize import quantize
    from snnconvert.report.measures.difference import error_of

    levels, out = levels_of(args), out_of(args, "qann")
    named = named_network(args)
    facts = denoiser_facts(args, named)
    before = replaced(args, out)
    if named.batches is None and named.examples is None:
        raise InputError(f"{named.name}: --calibrate is needed: inputs to start the ceilings from")
    with phases(args) as show:
        show("thresholds")
        qann = quantize(
            named.model, levels, example_inputs=named.examples, calibration=named.batches,
            threshold=args.threshold, per_channel=args.per_channel,
            bias_correction=args.bias_correction, spiking_time=args.spiking_time,
        ).eval()  # fmt: skip
        show("error")
        inputs = named.reported()
        error = error_of(qann, named.model, inputs)
        content = content_of(with_facts(qann, facts), like=named.checkpoint)
        content["provenance"] = {**content["provenance"], "converted_from": origin_of(args)}
        save_checkpoint(out, content)
    found: dict[str, Any] = {
        "file": str(out), "levels": sorted({clip.levels for clip in qann.clips}),
        "quantised_activations": len(qann.clips), "inputs": sum(len(call[0]) for call in inputs),
        "relative_error": error,
    }  # fmt: skip
    held = ", ".join(map(str, found["levels"]))  # those that it had before, too
    say(args, f"{counted(len(qann.clips), 'quantised activation')}, {held} levels: relative "
        f"error {error:.4g} on {found['inputs']} inputs before any training\nwrote {out}{before}",
        found)  # fmt: skip
