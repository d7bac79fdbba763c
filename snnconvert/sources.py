"""Networks and calibration data from command-line arguments."""

from __future__ import annotations

import argparse
import importlib
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from snnconvert.checkpoint import read_checkpoint, read_file
from snnconvert.datasets import DATASETS
from snnconvert.datasets.images import to_unit_range
from snnconvert.diffusion.objectives import noised_batch
from snnconvert.errors import CheckpointError, InputError
from snnconvert.loading import load, network_from
from snnconvert.probe import probe_batches, recipe_of, schedule_of
from snnconvert.recipe import Recipe

BATCH = 64
EXAMPLES = 2  # inputs of a file that serve to capture a network
REPORTED_BATCHES = 4  # of the calibration data, in the report of a conversion
KINDS = {"float": torch.float32, "int": torch.int64, "bool": torch.bool}


@dataclass
class Source:
    """A network to check or convert.

    Attributes:
        name: for messages.
        model: the network.
        examples: arguments of one call, None where the file knows them itself.
        batches: calibration inputs, None where there are none.
        held_out: inputs to report on, where they are others.
        content: of the checkpoint it comes from, if it is one of ours.
        float_ann: the float network beside a quantised one.
        stage: of `model` in that checkpoint.
    """

    name: str
    model: nn.Module
    examples: tuple[Tensor, ...] | None
    batches: list[Any] | None = None
    held_out: list[Any] | None = None
    content: dict[str, Any] | None = None
    float_ann: nn.Module | None = None
    stage: str = "ann"

    def reported(self) -> list[Any]:
        """The inputs that a report is about: all that were held out, or some of the others."""
        return self.held_out or (self.batches or [self.examples])[:REPORTED_BATCHES]


def source_of(args: argparse.Namespace) -> Source:
    """The network that the arguments name.

    Raises:
        InputError: arguments that are missing or contradict each other.
        CheckpointError: a file that cannot be used.
    """
    if args.model:
        source = _from_factory(args)
    elif not args.file:
        raise InputError("name a FILE, or a network by --model MODULE:FACTORY")
    elif args.file.endswith(".pt2"):
        source = Source(args.file, load(args.file), None)
    else:
        source = checkpoint_source(read_checkpoint(args.file), args.file, args.stage)
    if args.stage and source.content is None:
        raise InputError(f"--stage {args.stage}: {source.name} is no checkpoint with stages")
    if args.calibrate:
        source.batches = list(calibration_batches(args, source))
    return source


def _from_factory(args: argparse.Namespace) -> Source:
    make = factory(args.model)
    try:
        model = make()
    except Exception as error:  # whatever user code raises
        raise InputError(
            f"--model {args.model}: failed when called without arguments ({first_line(error)})"
        ) from error
    if not isinstance(model, nn.Module):
        raise InputError(f"--model {args.model}: returned {type(model).__name__}, no nn.Module")
    if args.file:
        model.load_state_dict(weights_of(args.file, model))
    return Source(args.model, model.eval(), examples_of(args))


def examples_of(args: argparse.Namespace) -> tuple[Tensor, ...]:
    """Example inputs of the shapes that the arguments give, or else the first to calibrate on."""
    if args.example_shape:
        return tuple(map(example, args.example_shape))
    if args.calibrate and Path(args.calibrate).is_file():
        return tuple(value[:EXAMPLES] for value in tensors_of(Path(args.calibrate)))
    raise InputError(
        "--example-shape: needed with --model (unless --calibrate is a .pt file of inputs), e.g. "
        "--example-shape 2,3,32,32"
    )


def factory(name: str) -> Any:
    """The function that "package.module:function" names."""
    module, _, function = name.partition(":")
    if not module or not function:
        raise InputError(f"--model: found {name!r}, write MODULE:FACTORY")
    if str(Path.cwd()) not in sys.path:  # an installed command does not look there
        sys.path.insert(0, str(Path.cwd()))
    try:
        found = importlib.import_module(module)
    except Exception as error:  # whatever user code raises
        raise InputError(f"--model {name}: cannot import {module} ({first_line(error)})") from error
    if not callable(getattr(found, function, None)):
        raise InputError(f"--model {name}: {module} has no function {function!r}")
    return getattr(found, function)


def first_line(error: Exception) -> str:
    """Kind and first line of what user code raised."""
    text = str(error).strip()
    return f"{type(error).__name__}: {text.splitlines()[0]}" if text else type(error).__name__


def weights_of(path: str, model: nn.Module) -> dict[str, Tensor]:
    """The state dict in a file, plain or under a usual key, checked against `model`."""
    return fitting(read_file(path), model, path)


def fitting(content: Any, model: nn.Module, path: str) -> dict[str, Tensor]:
    """The state dict in the content of a file at `path` if it has the tensors of `model`.

    Raises:
        CheckpointError: it has others, which are named, or none.
    """
    for key in ("state_dict", "model", "model_state_dict", "ema"):
        if isinstance(content, dict) and isinstance(content.get(key), dict):
            content = content[key]
    if not isinstance(content, dict):
        raise CheckpointError(f"{path}: holds {type(content).__name__}, needed is a state dict")
    state = {str(key).removeprefix("module."): value for key, value in content.items()}
    wanted = model.state_dict()
    counters = {key for key in wanted if key.endswith("num_batches_tracked")}
    state = {**{key: wanted[key] for key in counters}, **state}  # old files have none
    wrong = sorted(set(state) ^ set(wanted)) or sorted(
        key for key in state if getattr(state[key], "shape", None) != wanted[key].shape
    )
    if wrong:
        more = f" and {len(wrong) - 5} more" if len(wrong) > 5 else ""
        listed = ", ".join(wrong[:5])
        raise CheckpointError(f"{path}: does not fit the model: {listed}{more}")
    return state


def example(text: str) -> Tensor:
    """An example input of the shape "2,3,32,32" or "2:int"."""
    sizes, _, kind = text.partition(":")
    try:
        shape = [int(size) for size in sizes.split(",")]
    except ValueError:
        shape = [-1]
    if min(shape) < 1 or (kind or "float") not in KINDS:
        raise InputError(f"--example-shape: found {text!r}, write e.g. 2,3,32,32 or 2:int")
    dtype = KINDS[kind or "float"]
    values = torch.randn(shape, generator=torch.Generator().manual_seed(0))
    return values if dtype == torch.float32 else torch.zeros(shape, dtype=dtype)


def checkpoint_source(content: dict[str, Any], path: str, stage: str | None = None) -> Source:
    """A network of a checkpoint that can be converted, and its real images, noised.

    Args:
        stage: "ann" or "qann"; None: the most advanced.

    Raises:
        CheckpointError: it holds no such network.
    """
    networks = content["networks"]
    stage = stage or ("qann" if "qann" in networks else "ann")
    if stage not in networks:
        held = ", ".join(networks)
        raise CheckpointError(f"{path}: holds no {stage} network to convert, only: {held}")
    batches: list[Any] = list(probe_batches(content, path))
    model = network_from(content, stage, path)
    ann = network_from(content, "ann", path) if stage == "qann" and "ann" in networks else None
    return Source(path, model, batches[0], batches, batches, content, ann, stage)


def calibration_batches(args: argparse.Namespace, source: Source) -> Iterator[Any]:
    """Batches of real inputs from `--calibrate`.

    Raises:
        InputError: no tensors, images of another size, or no inputs at all.
    """
    path, count = Path(args.calibrate), args.calibration_inputs
    if count < 1:
        raise InputError(f"--calibration-inputs: found {count}, allowed are integers from 1 up")
    if path.is_file():
        values = [value[:count] for value in tensors_of(path)]
    else:
        values = [images_of(args, path, image_size(source), count)]
    if source.content is not None and len(values) == 1:
        values = list(noised(values[0], recipe_of(source.content, source.name)))
    fixed = fixed_batch(source.model)
    if fixed is not None:  # whole batches only
        if len(values[0]) < fixed:
            raise InputError(
                f"--calibrate: found {len(values[0])} inputs, the network was exported for batches "
                f"of exactly {fixed}; give as many or more, or export it with a dynamic batch "
                "(torch.export.export(..., dynamic_shapes=...))"
            )
        values = [value[: len(value) // fixed * fixed] for value in values]
    yield from zip(*(value.split(fixed or BATCH) for value in values), strict=True)


def fixed_batch(model: nn.Module) -> int | None:
    """The only batch size that a captured network takes; None where it takes others too."""
    program = getattr(model, "program", None)
    if program is None or program.signature is None or program.batch_inputs:
        return None
    shapes = list(program.signature.shapes.values())
    return shapes[0][0] if shapes and shapes[0] else None


def tensors_of(path: Path) -> list[Tensor]:
    """The tensors in a .pt file, one for each input of a network."""
    content = read_file(path)
    values = [content] if isinstance(content, Tensor) else content
    if not isinstance(values, (list, tuple)) or not all(
        isinstance(value, Tensor) and value.ndim for value in values
    ):
        raise InputError(f"{path}: needed is a tensor, or a tuple of tensors, batch first")
    if len({len(value) for value in values}) != 1:
        raise InputError(f"{path}: holds batches of {[len(v) for v in values]} inputs, or none")
    return list(values)


def images_of(args: argparse.Namespace, path: Path, size: int, count: int) -> Tensor:
    """At most `count` normalised training images [N, C, size, size], drawn at random."""
    if path.is_dir():
        images = DATASETS["folder"](path, size, True)
    else:
        images = DATASETS[args.calibrate](Path(args.data_root), size, True)
    order = torch.randperm(len(images), generator=torch.Generator().manual_seed(0))[:count]
    for option, values in (("--mean", args.mean), ("--std", args.std)):
        if len(values) not in (1, images.channels):
            raise InputError(
                f"{option}: found {len(values)} values, the images have {images.channels} channels;"
                " give one value, or one for each channel"
            )
    mean, std = torch.tensor(args.mean).view(-1, 1, 1), torch.tensor(args.std).view(-1, 1, 1)
    return (images.take(order.tolist()).float() / 255 - mean) / std


def noised(images: Tensor, recipe: Recipe) -> tuple[Tensor, Tensor]:
    """(x_t, t) of clean images in [-1, 1], shuffled; t spread evenly over the whole diffusion.

    Raises:
        InputError: images of another size than the network's.
    """
    size = recipe.image_size
    if images.ndim != 4 or tuple(images.shape[2:]) != (size, size):
        raise InputError(
            f"--calibrate: found clean images {list(images.shape)}, the network takes "
            f"[N, C, {size}, {size}] (or give a .pt file with a tuple of tensors, one per input)"
        )
    if images.dtype == torch.uint8:
        images = to_unit_range(images)
    generator = torch.Generator().manual_seed(0)
    order = torch.randperm(len(images), generator=generator)
    x, t, _ = noised_batch(images[order], schedule_of(recipe), generator, spread=True)
    order = torch.randperm(len(images), generator=generator)
    return x[order], t[order]


def image_size(source: Source) -> int:
    """Side of the square images that the network takes (apart from its t)."""
    if source.content is not None:
        return recipe_of(source.content, source.name).image_size
    shapes = [list(value.shape) for value in source.examples or ()]
    program = getattr(source.model, "program", None)
    if program is not None and program.signature is not None:
        shapes = [list(shape) for shape in program.signature.shapes.values()]
    if len(shapes) != 1 or len(shapes[0]) != 4 or shapes[0][2] != shapes[0][3]:
        raise InputError(
            "--calibrate: images fit networks whose only input is [B, C, H, H]; give a .pt file "
            "with a tuple of tensors, one per input"
        )
    return shapes[0][3]
