"""Networks from command-line arguments."""

from __future__ import annotations

import argparse
import importlib
import sys
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from snnconvert.checkpoint.checkpoint import Checkpoint
from snnconvert.checkpoint.networks import load, network_of
from snnconvert.cli.arguments.calibration_argument import EXAMPLES, calibration_batches, tensors_of
from snnconvert.cli.arguments.named_network import NamedNetwork
from snnconvert.common.checks import MOST
from snnconvert.common.hardware import checked_device
from snnconvert.conversion.spiking.config import SpikingConfig
from snnconvert.conversion.spiking.network import SpikingNetwork, converted
from snnconvert.errors import CheckpointError, InputError
from snnconvert.models.state_dicts import weights_of

KINDS = {"": torch.float32, "float": torch.float32, "int": torch.int64, "bool": torch.bool}


def named_network(args: argparse.Namespace) -> NamedNetwork:
    """The network that the arguments name, on the device that they name.

    Raises:
        InputError: arguments that are missing or contradict each other, or no such device.
        CheckpointError: a file that cannot be used.
    """
    device = named_device(args)  # refused before slow work
    return _named(args).on(device)


def named_device(args: argparse.Namespace) -> torch.device:
    """What --device says; of a command without it the CPU."""
    return checked_device(getattr(args, "device", "cpu"))


def _named(args: argparse.Namespace) -> NamedNetwork:
    if args.model:
        named = _from_factory(args)
    elif not args.file:
        raise InputError("name a FILE, or a network by --model MODULE:FACTORY")
    elif args.file.endswith(".pt2"):
        named = NamedNetwork(args.file, load(args.file), None)
    elif is_folder(args.file):
        named = _from_folder(args)
    elif args.file.endswith(".onnx"):
        named = NamedNetwork(args.file, _from_onnx(args), None)
    else:
        named = _from_checkpoint(args)
    if args.weights_key and not (args.model and args.file):
        raise InputError("--weights-key: names weights in a FILE for --model; give all three")
    if args.outputs and not (args.file or "").endswith(".onnx"):
        raise InputError(f"--outputs: {named.name} is no .onnx file")
    if args.stage and (args.model or is_foreign(args.file)):
        raise InputError(f"--stage {args.stage}: {named.name} is no checkpoint with stages")
    if args.t_range is not None and named.checkpoint is not None:
        named.checkpoint.takes_times(args.t_range)
    if args.schedule and not args.calibrate:
        raise InputError(
            "--schedule: says by which noise --calibrate's images are noised; give both"
        )
    if args.calibrate:
        named.batches = list(calibration_batches(args, named))
    return named


def ann_and_snn(args: argparse.Namespace) -> tuple[NamedNetwork, SpikingNetwork, str]:
    """(the ANN, the SNN converted from it, the file of that) of `COMMAND ANN SNN`, on --device.

    Raises:
        InputError, CheckpointError: as `named_network`; no SNN is named, or no inputs are known.
    """
    device = named_device(args)
    if args.snn is None and args.model:  # `--model MODULE:FACTORY SNN`: no weights
        args.file, args.snn = None, args.file
    if not args.snn:
        raise InputError("name two networks: the ANN, and the SNN that was converted from it")
    checkpoint = Checkpoint.read(args.snn)
    missing = f"{args.snn}: holds no converted network; `snnconvert convert` writes one"
    snn = converted(network_of(checkpoint), missing, CheckpointError).to(device)
    if args.model and not args.example_shape and not args.calibrate:
        args.example_shape = ["1"]  # nothing is captured
    foreign = bool(args.model) or is_foreign(args.file)
    if args.file and not foreign and args.stage is None:
        ann = Checkpoint.read(args.file)
        if ann.has_recipe:
            named = checkpoint_network(ann, ann.quantised_at(snn.config.levels)
                                       if not snn.calibration else None)  # fmt: skip
            ann.takes_times(args.t_range)
            if args.calibrate:
                named.batches = list(calibration_batches(args, named))
            return named.on(device), snn, args.snn
    named = named_network(args)
    if named.batches is None:
        raise InputError(f"{named.name}: --data is needed: inputs to measure on")
    return named, snn, args.snn


def is_folder(name: str) -> bool:
    """Whether there is a folder of this name; a name that cannot be one is none."""
    try:
        return Path(name).is_dir()
    except OSError:  # too long
        return False


def is_foreign(file: str | None) -> bool:
    """Whether a file is no checkpoint of ours, by its name."""
    return file is not None and (file.endswith((".pt2", ".onnx")) or is_folder(file))


def _from_checkpoint(args: argparse.Namespace) -> NamedNetwork:
    """A network of a checkpoint; of one without a recipe, as of any file from elsewhere."""
    checkpoint = Checkpoint.read(args.file)
    usual = args.usual_stage  # of a command that asks for one kind alone
    stage = args.stage or (usual if usual in checkpoint.stages else None)
    return checkpoint_network(checkpoint, stage, wanted_levels(args))


def _from_onnx(args: argparse.Namespace) -> nn.Module:
    """The network in an ONNX file; axes of any size are as in the examples, if there are some."""
    examples: tuple[Tensor, ...] | None = None
    if args.example_shape:
        examples = tuple(map(example, args.example_shape))
    elif args.calibrate and not args.schedule and Path(args.calibrate).is_file():
        examples = tuple(value[:EXAMPLES] for value in tensors_of(Path(args.calibrate)))
    return load(args.file, example_inputs=examples, outputs=args.outputs or None)


def _from_folder(args: argparse.Namespace) -> NamedNetwork:
    """A model of diffusers, which knows its noise where a pipeline's scheduler is beside it."""
    from snnconvert.exchange.diffusers_folder import example_call, load_diffusers

    model = load_diffusers(args.file)
    in_file = args.calibrate and Path(args.calibrate).is_file()
    whole = in_file and len(tensors_of(Path(args.calibrate))) > 1  # not clean images alone
    examples = factory_examples(args) if args.example_shape or whole else example_call(model)
    return NamedNetwork(args.file, model, examples)


def _from_factory(args: argparse.Namespace) -> NamedNetwork:
    model = made_by(args.model)
    if args.file:
        model.load_state_dict(weights_of(args.file, model, args.weights_key))
    return NamedNetwork(args.model, model, factory_examples(args))


def factory_examples(args: argparse.Namespace) -> tuple[Tensor, ...] | None:
    """Example inputs of the shapes that the arguments give; None: the first to calibrate on."""
    if args.example_shape:
        return tuple(map(example, args.example_shape))
    if args.calibrate and Path(args.calibrate).is_file():
        return None  # the first ones, once they are noised where that is asked for
    raise InputError(
        "--example-shape: needed with --model (unless --calibrate is a .pt file of inputs), e.g. "
        "--example-shape 2,3,32,32"
    )


def made_by(name: str, option: str = "--model") -> nn.Module:
    """The network that "package.module:function" returns, in evaluation mode."""
    make = factory(name, option)
    try:
        model = make()
    except Exception as error:  # whatever user code raises
        raise InputError(
            f"{option} {name}: failed when called without arguments ({first_line(error)})"
        ) from error
    if not isinstance(model, nn.Module):
        raise InputError(f"{option} {name}: returned {type(model).__name__}, no nn.Module")
    return model.eval()


def factory(name: str, option: str) -> Any:
    """The function that "package.module:function" names."""
    module, _, function = name.partition(":")
    if not module or not function:
        raise InputError(f"{option}: found {name!r}, write MODULE:FACTORY")
    if str(Path.cwd()) not in sys.path:  # an installed command does not look there
        sys.path.insert(0, str(Path.cwd()))
    try:
        found = importlib.import_module(module)
    except Exception as error:  # whatever user code raises
        raise InputError(
            f"{option} {name}: cannot import {module} ({first_line(error)})"
        ) from error
    if not callable(getattr(found, function, None)):
        raise InputError(f"{option} {name}: {module} has no function {function!r}")
    return getattr(found, function)


def first_line(error: Exception) -> str:
    """Kind and first line of what user code raised."""
    text = str(error).strip()
    return f"{type(error).__name__}: {text.splitlines()[0]}" if text else type(error).__name__


def example(text: str) -> Tensor:
    """An example input of the shape "2,3,32,32" or "2:int", or the whole number "16000:number"."""
    sizes, _, kind = text.partition(":")
    number = kind == "number"
    try:
        shape = [int(size) for size in sizes.split(",")]
    except ValueError:
        shape = []
    if number and len(shape) == 1 and abs(shape[0]) <= MOST:
        return torch.tensor(shape[0])
    if number or not shape or not 1 <= min(shape) <= max(shape) <= MOST or kind not in KINDS:
        raise InputError(f"--example-shape: found {text!r}, write e.g. 2,3,32,32, 2:int or "
                         "16000:number")  # fmt: skip
    dtype = KINDS[kind]
    values = torch.randn(shape, generator=torch.Generator().manual_seed(0))
    return values if dtype == torch.float32 else torch.zeros(shape, dtype=dtype)


def wanted_levels(args: argparse.Namespace) -> int | None:
    """How many levels --timesteps and --code carry, where a command has them and they do."""
    timesteps = getattr(args, "timesteps", None)
    if timesteps is None:
        return None
    return SpikingConfig.levels_of(getattr(args, "code", "rate"), timesteps)


def checkpoint_network(
    checkpoint: Checkpoint, stage: str | None = None, levels: int | None = None
) -> NamedNetwork:
    """A network of a checkpoint that can be converted, and its real images, noised.

    Args:
        stage: one of CONVERTIBLE; None: the quantised one of `levels` levels, if there is one, or
            else the most advanced.

    Raises:
        CheckpointError: it holds no such network.
    """
    path, stages = checkpoint.source, checkpoint.stages
    stage = stage or checkpoint.quantised_at(levels) or checkpoint.convertible
    if stage not in stages:
        held = ", ".join(stages)
        raise CheckpointError(f"{path}: holds no {stage} network to convert, only: {held}")
    if not checkpoint.has_recipe:  # it knows no inputs to calibrate or to measure on
        return NamedNetwork(path, network_of(checkpoint, stage), None, stage=stage)
    batches: list[Any] = list(checkpoint.probe_batches())
    model = network_of(checkpoint, stage)
    ann = checkpoint.network("ann") if stage != "ann" and "ann" in stages else None
    return NamedNetwork(path, model, batches[0], batches, batches, checkpoint, ann, stage)
