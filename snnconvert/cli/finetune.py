"""The command `finetune`: a converted network trained under its own spikes."""

from __future__ import annotations

import argparse
import sys

from snnconvert.cli.arguments.lazy import Commands, add_command
from snnconvert.cli.arguments.options import add_device
from snnconvert.cli.arguments.output import add_output_options, destination, say
from snnconvert.cli.arguments.progress import bars
from snnconvert.common.checks import MOST, checked_integer, checked_number
from snnconvert.errors import CheckpointError


def add_finetune(commands: Commands) -> None:
    add_command(
        commands,
        "finetune",
        run_finetune,
        add_arguments,
        help="train a converted network under its own spikes",
        description="Take a converted network as initialisation and train it by surrogate "
        "gradients, so that after exactly its T (+ settle) steps it comes closer to the float "
        "network. For networks converted with --settle K; nothing is labelled.",
    )


def add_arguments(command: argparse.ArgumentParser) -> None:
    command.add_argument("file", metavar="FILE", help="what `convert` wrote")
    command.add_argument("--teacher", metavar="ANN", help="what FILE was converted from, for its "
                         "float network (default: the quantised one in FILE)")  # fmt: skip
    command.add_argument("--steps", type=int, default=500, help="training steps (default 500)")
    command.add_argument("--batch-size", type=int, default=64, help="inputs a step (default 64)")
    command.add_argument("--rate", type=float, default=1e-3,
                         help="relative change of a weight a step (default 1e-3)")  # fmt: skip
    command.add_argument("--seed", type=int, default=0, help="of images and noise (default 0)")
    command.add_argument("--data-root", help="the recipe's data set in this folder (default: as "
                         "the recipe says)")  # fmt: skip
    add_device(command)
    command.add_argument("-o", "--out", help="file to write (default: <FILE stem>.tuned.pt)")
    add_output_options(command, slow=True)


def run_finetune(args: argparse.Namespace) -> int:
    from snnconvert.checkpoint.checkpoint import Checkpoint
    from snnconvert.checkpoint.networks import load, save
    from snnconvert.common.hardware import checked_device
    from snnconvert.common.inputs import inputs_of
    from snnconvert.conversion.finetune import finetune, refuse_exact
    from snnconvert.conversion.spiking.network import converted
    from snnconvert.report.measures.difference import error_of
    from snnconvert.training.tuning import training_inputs

    stem = args.file.removesuffix(".pt").removesuffix(".snn")
    checked_number("--rate", args.rate, "(0, inf)")
    checked_integer("--steps", args.steps, 1, MOST)
    device = checked_device(args.device)
    out = destination(args, args.out or f"{stem}.tuned.pt")
    checkpoint = Checkpoint.read(args.file)
    missing = f"{args.file}: holds no converted network; convert it first"
    network = converted(checkpoint.network(), missing, CheckpointError).to(device)
    refuse_exact(network)  # before images are fetched
    teacher = load(args.teacher, "ann") if args.teacher else network.quantized_ann()
    teacher = teacher.to(device)
    inputs = training_inputs(checkpoint.recipe, args.steps, batch_size=args.batch_size,
                             seed=args.seed, data_root=args.data_root,
                             shape=(inputs_of(network).shapes or [()])[0][1:])  # fmt: skip
    inputs = (tuple(value.to(device) for value in call) for call in inputs)
    held_out = [tuple(v.to(device) for v in call) for call in checkpoint.probe_batches()]
    tuned = finetune(network, inputs, steps=args.steps, rate=args.rate, teacher=teacher,
                     progress=bars(args))  # fmt: skip
    before, after = (error_of(n, teacher, held_out) for n in (network, tuned))
    shown = sum(len(batch[0]) for batch in held_out)
    kind = "float" if args.teacher else "quantised"
    content = {"file": str(out), "against": kind, "inputs": shown, "before": before,
               "after": after, "clock_steps": network.latency_steps}  # fmt: skip
    if not after < before:
        print(f"finetune: did not help (error {before:.3g} before, {after:.3g} after); take a "
              "smaller --rate or more --steps; nothing was written", file=sys.stderr)  # fmt: skip
        if args.json:
            say(args, "", {**content, "file": None})
        return 1
    save(tuned, out, like=checkpoint)
    say(args, f"relative error against the {kind} ANN after {network.latency_steps} steps, {shown} "
        f"held-out inputs: {before:.4g} before, {after:.4g} after\nwrote {out}",
        content)  # fmt: skip
    return 0
