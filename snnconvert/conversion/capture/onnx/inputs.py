"""Example inputs of an ONNX file, by the shapes that it states."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import onnx_ir as ir
import torch
from torch import Tensor

from snnconvert.conversion.capture.onnx.steps.types import HALVES, TORCH_TYPES
from snnconvert.conversion.graph.signature import arguments_of
from snnconvert.errors import InputError, UnsupportedOpError

LARGEST = 1 << 28  # elements of an example input
EXAMPLES = 2  # rows where the batch is any
HIGHEST = 2  # of made-up integers, so that they are places in any table


@dataclass(frozen=True)
class Wanted:
    """One input of a file.

    Attributes:
        name: in the file.
        code: its ONNX element type.
        shape: sizes; a string where any size will do.
    """

    name: str
    code: int
    shape: tuple[int | str, ...]

    @property
    def dtype(self) -> torch.dtype:
        return TORCH_TYPES[self.code]

    @property
    def half(self) -> bool:
        return self.code in HALVES

    def __str__(self) -> str:
        return f"{self.name} [{', '.join(map(str, self.shape))}]"


def inputs_wanted(graph: ir.Graph) -> list[Wanted]:
    """What a file's main graph takes; initializers are none of it.

    Raises:
        UnsupportedOpError: an input that is no tensor of numbers.
        InputError: an input without a shape.
    """
    held = set(graph.initializers.values())
    found = []
    for value in graph.inputs:
        if value in held:
            continue
        code = int(value.dtype) if value.dtype is not None else 0
        if not isinstance(value.type, ir.TensorType) or code not in TORCH_TYPES:
            raise UnsupportedOpError(f"input {value.name!r}: is {value.type}, no tensor of numbers")
        if value.shape is None:
            raise InputError(f"input {value.name!r}: the file does not say how many axes it has")
        sizes = tuple(
            size if isinstance(size, int) and size > 0 else str(size or f"{value.name}_{axis}")
            for axis, size in enumerate(
                item if isinstance(item, int) else item.value for item in value.shape
            )
        )
        found.append(Wanted(str(value.name), code, sizes))
    if not found:
        raise InputError("the file takes no inputs: there is nothing to convert")
    return found


def free_size(wanted: Sequence[Wanted], least: int) -> int:
    """A batch from `least` up that is the size of no other first axis."""
    fixed = {item.shape[0] for item in wanted if item.shape}
    return next(size for size in range(least, least + len(fixed) + 1) if size not in fixed)


def made_up(wanted: Sequence[Wanted], batch: int) -> list[Tensor]:
    """One tensor each: floats in [0, 1), small integers; axis 0 is `batch` where it is any.

    Raises:
        InputError: another axis may be of any size.
    """
    first = wanted[0].shape[:1]
    sizes = {first[0]: batch} if first and isinstance(first[0], str) else {}
    for item in wanted:  # axes called alike are equally long
        if item.shape and isinstance(item.shape[0], str):
            sizes.setdefault(item.shape[0], batch)
        for size in item.shape:
            if isinstance(size, str) and size not in sizes:
                raise InputError(
                    f"input {item}: its size {size!r} may be any; give example inputs of the "
                    "wanted size (example_inputs=, on the command line --example-shape "
                    "1,3,224,224 once per input)"
                )
    generator = torch.Generator().manual_seed(0)
    return [random(item, [sizes.get(s, s) for s in item.shape], generator) for item in wanted]  # type: ignore[arg-type]


def random(item: Wanted, shape: list[int], generator: torch.Generator) -> Tensor:
    count = 1
    for size in shape:
        count *= size
    if count > LARGEST:
        raise InputError(f"input {item}: would hold {count} elements, allowed are {LARGEST}")
    if item.dtype.is_floating_point:
        return torch.rand(shape, generator=generator, dtype=item.dtype)
    return torch.randint(0, HIGHEST, shape, generator=generator).to(item.dtype)


def given(wanted: Sequence[Wanted], example_inputs: object) -> list[Tensor]:
    """Example inputs of a caller in the order of the file, checked against its shapes.

    Raises:
        InputError: another number, type or shape than the file takes.
    """
    args, kwargs = arguments_of(example_inputs)
    by_name = {item.name: value for item, value in zip(wanted, args, strict=False)} | kwargs
    takes = ", ".join(map(str, wanted))
    if len(args) > len(wanted) or set(by_name) != {item.name for item in wanted}:
        raise InputError(f"example_inputs: found {len(args) + len(kwargs)}, the file takes {takes}")
    found = []
    for item in wanted:
        value = by_name[item.name]
        fits = isinstance(value, Tensor) and value.ndim == len(item.shape) and all(
            isinstance(wanted_size, str) or axis == 0 or size == wanted_size
            for axis, (size, wanted_size) in enumerate(zip(value.shape, item.shape, strict=True))
        )  # fmt: skip
        if not fits:
            shape = list(value.shape) if isinstance(value, Tensor) else type(value).__name__
            raise InputError(f"example_inputs: found {shape}, the file takes {item}")
        found.append(value.to(item.dtype))
    return found
