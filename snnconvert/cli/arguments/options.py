"""Command-line arguments that several commands share; `network_argument.py` opens the network.

Apart from that file, so that `snnconvert --help` imports no PyTorch.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable
from typing import Any

from snnconvert.checkpoint import CONVERTIBLE
from snnconvert.cli.arguments.lazy import listed
from snnconvert.cli.arguments.texts import numbers, settle_steps, start_potential, step_range
from snnconvert.common.checks import MOST, checked_integer


def add_source_arguments(command: argparse.ArgumentParser, usual_stage: str | None = None) -> None:
    """FILE, --stage, --model, --example-shape, --calibrate and what goes with it."""
    add_network_arguments(command, usual_stage)
    add_calibration(command)


def add_network_arguments(command: argparse.ArgumentParser, usual_stage: str | None) -> None:
    """FILE, --stage, --model and what goes with it, --outputs."""
    command.add_argument(
        "file",
        metavar="FILE",
        nargs="?",
        help="a checkpoint of snnconvert, a .pt2 file (torch.export.save; no code in it runs), an "
        ".onnx file, a folder of a diffusers model, or, with --model, its weights (a state dict)",
    )
    group = command.add_argument_group("which network")
    add_stage_argument(group, usual_stage)
    command.set_defaults(usual_stage=usual_stage)
    group.add_argument(
        "--model",
        metavar="MODULE:FACTORY",
        help="Python function that returns the network, e.g. torchvision.models:resnet18; your "
        "code, it runs",
    )
    group.add_argument(
        "--weights-key",
        metavar="NAME",
        help="under which name FILE holds the weights of --model, where it holds several (default: "
        "the average, such as ema, where there is one)",
    )
    group.add_argument(
        "--example-shape",
        action="append",
        default=[],
        metavar="B,C,H,W[:int]",
        help="shape of an input of --model, or of an .onnx file where it may be any; batch first, "
        "once per input; 16000:number is the number itself",
    )
    group.add_argument(
        "--outputs",
        action="append",
        default=[],
        metavar="NAME",
        help="inner value of an .onnx file at which the network shall end, once per output "
        "(leaves out what follows, such as the selection of boxes)",
    )


def add_calibration(command: argparse.ArgumentParser) -> None:
    """--calibrate and what goes with it."""
    from snnconvert.images.datasets import DATASETS

    names = listed(name for name in DATASETS if name != "folder")
    group = command.add_argument_group("inputs to calibrate and to measure on")
    group.add_argument(
        "--calibrate",
        "--data",
        metavar="DATA",
        help="inputs for networks with plain activations: a .pt file with a tensor (or a tuple of "
        "tensors, one per input), an .npz with an array per input, a folder of images, or a data "
        f"set ({names}); "
        "for a denoiser (a checkpoint, or any with --schedule) clean images, which are noised over "
        "the whole range of t",
    )
    add_schedule(group)
    group.add_argument("--data-root", default="data", help="where data sets lie (default data)")
    group.add_argument("--mean", type=numbers, default=(0.5,), help="of images (default 0.5)")
    group.add_argument("--std", type=numbers, default=(0.5,), help="of images (default 0.5)")
    group.add_argument(
        "--calibration-inputs",
        "--inputs",
        type=int,
        default=1024,
        metavar="N",
        help="of them (default 1024)",
    )


def add_schedule(command: argparse._ActionsContainer) -> None:
    """The noise of a denoiser's training, and how it counts its steps."""
    command.add_argument(
        "--schedule", metavar="NAME|FIRST,LAST,STEPS",
        help="noise that the network was trained with, where the file does not say: linear, "
        "cosine, or betas and their number",
    )  # fmt: skip
    command.add_argument(
        "--t-range", type=numbers, metavar="FIRST,LAST", help="times that the network takes at the "
        "cleanest and at the noisiest diffusion step, where the file does not say: 0,0.999 where "
        "it takes t / 1000 (default: the numbers of the steps)",
    )  # fmt: skip


def add_stage_argument(command: argparse._ActionsContainer, usual: str | None) -> None:
    default = "the most advanced that it holds" if usual is None else f"{usual} where it is there"
    command.add_argument(
        "--stage",
        choices=CONVERTIBLE,
        help=f"which network of a checkpoint: the float or the quantised one (default: {default})",
    )


def add_conversion_options(command: argparse.ArgumentParser, several: bool = False) -> None:
    """How the network spikes; `conversion_options` reads them back. `several`: a range of T."""
    add = command.add_argument_group("spiking").add_argument
    if several:
        add("--timesteps", type=step_range, metavar="FIRST-LAST",
            help="range of T (default 1-64; radix: 1-12)")  # fmt: skip
    else:
        add("--timesteps", type=int, default=4, metavar="T",
            help="steps in which the input is presented (default 4)")  # fmt: skip
    add("--firing", choices=("immediate", "deferred"),
        help="fire while integrating (default), or integrate first (default of --code radix, which "
        "needs it)")  # fmt: skip
    add_code(add)
    add("--settle", type=settle_steps, metavar="K|auto",
        help="input-free steps after the T; auto (default): until silence")  # fmt: skip
    add("--simulate", choices=("steps", "counts"), default="steps",
        help="run the clock (default), or one pass where that is exact")  # fmt: skip
    add("--norm", choices=("accumulated", "per_step"), default="accumulated",
        help="what norms see; per_step: single steps, as in SDM and spikingjelly")  # fmt: skip
    add_neuron_options(command)
    add_threshold_options(command)


def add_code(add: Callable[..., Any]) -> None:
    add("--code", choices=("rate", "radix"), default="rate",
        help="what T spikes mean: their number (default; T levels), or their binary number "
        "(2^T - 1 levels)")  # fmt: skip


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


def add_ceiling_options(command: argparse.ArgumentParser) -> Callable[..., Any]:
    """How thresholds are found, and where; returns what adds another option to their group."""
    from snnconvert.conversion.calibration import CRITERIA

    add = command.add_argument_group("thresholds").add_argument
    add("--threshold", default="mse", metavar="RULE",
        help=f"of plain activations: {listed(CRITERIA)} (default mse), or a percentage such as "
        "99.5%%")  # fmt: skip
    add("--per-layer", dest="per_channel", action="store_false",
        help="one threshold a layer instead of a channel")  # fmt: skip
    add("--spiking-time", action="store_true",
        help="neurons also for what depends on the diffusion time alone, which is a table over t "
        "otherwise")  # fmt: skip
    return add


def add_threshold_options(command: argparse.ArgumentParser) -> None:
    add = add_ceiling_options(command)
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
             "thresholds_over_t", "t_argument", "spiking_time", "weights")  # fmt: skip
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


def add_threshold_scale(command: argparse.ArgumentParser) -> None:
    command.add_argument(
        "--threshold-scale", type=float, default=1.0, metavar="FACTOR",
        help="threshold scaling: every firing threshold times this, such as 0.997; see `guidance` "
        "(default 1)",
    )  # fmt: skip


def images_help() -> str:
    """What commands take as images."""
    from snnconvert.images.datasets import DATASETS

    names = listed(name for name in DATASETS if name != "folder")
    return f"dataset (NAME or NAME:test; {names}), folder of images, or .npz of uint8 images"


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


def check_batch_size(batch_size: int) -> None:
    checked_integer("--batch-size", batch_size, 1, MOST)
