"""How the arguments of a call become the inputs of a program."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import torch
from torch import Tensor

from snnconvert.common.inputs import TIMES
from snnconvert.common.words import counted
from snnconvert.conversion.graph.values import Ref, references
from snnconvert.errors import InputError

BATCH = -1  # stands for the size of the batch in a shape


def arguments_of(batch: Any) -> tuple[tuple[Any, ...], dict[str, Any]]:
    """Positional and keyword arguments of one call.

    Args:
        batch: a tensor, a tuple or list of arguments, or a dict of keyword arguments.

    Raises:
        InputError: anything else.
    """
    if isinstance(batch, Tensor):
        return (batch,), {}
    if isinstance(batch, Mapping):
        return (), {str(key): value for key, value in batch.items()}
    if isinstance(batch, (list, tuple)):
        return tuple(batch), {}
    raise InputError(
        f"inputs of the network: found {type(batch).__name__}; give a tensor, a tuple of the "
        "arguments, or a dict of keyword arguments"
    )


@dataclass(frozen=True)
class Signature:
    """What a call looked like when the network was captured.

    Attributes:
        parameters: names of the module's arguments, in order.
        values: per given argument, nested lists, tuples and dicts of `Ref`s (tensors) and plain
            values that were fixed by the capture.
        shapes: per input, its shape with `BATCH` where the batch is.
        largest_batch: what the module's own code allows; None for any.
        smallest_batch: below it, the module's own code does something else.
        dtypes: per input.
    """

    parameters: tuple[str, ...]
    values: dict[str, Any]
    shapes: dict[str, tuple[int, ...]] = field(default_factory=dict)
    largest_batch: int | None = None
    dtypes: dict[str, torch.dtype] = field(default_factory=dict)
    smallest_batch: int = 0

    def bind(
        self, args: Sequence[Any], kwargs: Mapping[str, Any], inputs: Sequence[str],
        any_batch: bool = False,
    ) -> list[Tensor]:  # fmt: skip
        """The tensors of a call in the order of `inputs`.

        any_batch: take more than `largest_batch`, and a number a sample where one for all was
            captured; the caller cuts them into calls.

        Raises:
            InputError: other arguments, fixed values or shapes than the captured ones.
        """
        if not args and self.sole_dict(kwargs) is not None:
            args, kwargs = (kwargs,), {}
        kwargs = {name: value for name, value in kwargs.items() if not self._left_out(name, value)}
        given = {**self.fixed, **self.by_name(args, kwargs)}
        given = {name: value for name, value in given.items() if not self._left_out(name, value)}
        if set(given) != set(self.values):
            raise InputError(
                f"found inputs ({', '.join(given)}), the network takes ({', '.join(self.values)})"
            )
        found: dict[str, Tensor] = {}
        for name, expected in self.values.items():
            _match(name, expected, given[name], found)
        found = self._shaped(found)
        batches = {
            name: self._batch_of(name, value, any_batch)
            for name, value in found.items() if name in inputs
        }  # fmt: skip
        sizes = {size for size in batches.values() if size is not None}
        if len(sizes) > 1:
            raise InputError(f"inputs: found batches of different sizes, {sorted(sizes)}")
        largest = None if any_batch else self.largest_batch
        if largest is not None and max(sizes, default=0) > largest:
            raise InputError(
                f"inputs: found a batch of {max(sizes)}; the network's own code distinguishes "
                f"batches above {largest}: split the batch"
            )
        if min(sizes, default=self.smallest_batch) < self.smallest_batch:
            raise InputError(
                f"inputs: found a batch of {min(sizes)}; the network's own code does something "
                f"else with batches below {self.smallest_batch}, which was not captured"
            )
        return [self._typed(name, found[name]) for name in inputs]

    def freed(self, batch: int) -> Signature:
        """The same without the batch that it fixes, for calls that are cut into such."""
        shapes = {
            name: (BATCH, *shape[1:]) if shape[:1] == (batch,) else shape
            for name, shape in self.shapes.items()
        }
        return replace(self, shapes=shapes)

    def _left_out(self, name: str, value: Any) -> bool:
        """Whether an argument is none that the capture left out."""
        return value is None and name in self.parameters and name not in self.values

    @property
    def fixed(self) -> dict[str, Any]:
        """Arguments that were captured without a tensor: a call may leave them out."""
        return {n: v for n, v in self.values.items() if next(references(v), None) is None}

    def single(self, name: str) -> bool:
        """Whether an input is one number for all samples: [], or a time as [1]."""
        shape = self.shapes.get(name)
        if shape is None or any(size != 1 for size in shape):
            return False
        called = next((key for key, value in self.values.items() if value == Ref(name)), name)
        return shape == () or called in TIMES

    def _shaped(self, found: dict[str, Tensor]) -> dict[str, Tensor]:
        """One number a sample in the form that it was captured in: [], [1], [B] or [B, 1].

        Left as it is where it has no such form; its shape is then refused.
        """
        many = [len(v) for n, v in found.items() if len(self.shapes.get(n, ())) > 1 and v.ndim > 1]
        return {
            name: as_captured(value, self.shapes[name], max(many, default=1), self.single(name))
            if name in self.shapes else value
            for name, value in found.items()
        }  # fmt: skip

    def sole_dict(self, batch: Any) -> str | None:
        """The only argument, where it is a dict and `batch` has its keys; None otherwise."""
        if len(self.values) != 1 or not isinstance(batch, Mapping):
            return None
        ((name, expected),) = self.values.items()
        fits = isinstance(expected, dict) and set(batch) == set(expected) != {name}
        return name if fits else None

    def _typed(self, name: str, value: Tensor) -> Tensor:
        """Whole numbers as the integers that the input was captured as: t of a solver."""
        wanted = self.dtypes.get(name, value.dtype)
        integer = not (wanted.is_floating_point or wanted.is_complex or wanted == torch.bool)
        if integer and value.is_floating_point():
            whole = value.to(wanted)
            if torch.equal(whole.to(value.dtype), value):
                return whole
        return value

    def by_name(self, args: Sequence[Any], kwargs: Mapping[str, Any]) -> dict[str, Any]:
        """Arguments by parameter name. InputError for too many, unknown or doubled ones."""
        if len(args) > len(self.parameters):
            raise InputError(
                f"found {counted(len(args), 'input')}, the network takes ({', '.join(self.values)})"
            )
        given = dict(zip(self.parameters, args, strict=False))
        for name, value in kwargs.items():
            if name in self.parameters and name not in self.values:
                raise InputError(
                    f"input {name!r}: was left out when the network was captured; leave it out, or "
                    "convert again with it"
                )
            if name in given or name not in self.values:
                takes = ", ".join(self.values)
                raise InputError(f"input {name!r}: unknown or given twice; it takes ({takes})")
            given[name] = value
        return given

    def _batch_of(self, name: str, value: Tensor, any_batch: bool) -> int | None:
        """The batch size of an input, None where it has none; InputError for another shape."""
        expected = self.shapes.get(name)
        if expected is None:
            return None
        shape = tuple(value.shape)
        if any_batch and self.single(name) and len(shape) == 1 and shape != expected:
            return shape[0]
        fits = len(shape) == len(expected) and all(
            wanted in (BATCH, size) for size, wanted in zip(shape, expected, strict=True)
        )
        if not fits:
            wanted = ", ".join("B" if size == BATCH else str(size) for size in expected)
            raise InputError(
                f"input {name!r}: found shape {list(shape)}, the network was captured for "
                f"[{wanted}]; capture it again with example_inputs of the new shape"
            )
        return next((s for s, w in zip(shape, expected, strict=True) if w == BATCH), None)

    def to_dict(self) -> dict[str, Any]:
        return {
            "parameters": self.parameters, "values": self.values, "shapes": self.shapes,
            "largest_batch": self.largest_batch, "dtypes": self.dtypes,
            "smallest_batch": self.smallest_batch,
        }  # fmt: skip

    @classmethod
    def from_dict(cls, content: dict[str, Any]) -> Signature:
        """Inverse of `to_dict`. TypeError for entries of another type."""
        found = cls(**content)
        wrong = [name for name, fits in _entries(found).items() if not fits]
        if wrong:
            raise TypeError(f"{wrong[0]} of the signature: found {getattr(found, wrong[0])!r}")
        return found


def _entries(found: Signature) -> dict[str, bool]:
    """Whether each entry is of its type."""
    return {
        "parameters": isinstance(found.parameters, tuple) and all(map(_is_name, found.parameters)),
        "values": _is_table(found.values, lambda _: True),
        "shapes": _is_table(
            found.shapes,
            lambda shape: isinstance(shape, tuple) and all(_is_size(n, BATCH) for n in shape),
        ),
        "largest_batch": found.largest_batch is None or _is_size(found.largest_batch, 1),
        "dtypes": _is_table(found.dtypes, lambda dtype: isinstance(dtype, torch.dtype)),
        "smallest_batch": _is_size(found.smallest_batch, 0),
    }


def _is_table(value: Any, fits: Callable[[Any], bool]) -> bool:
    return isinstance(value, dict) and all(
        _is_name(key) and fits(item) for key, item in value.items()
    )


def _is_name(value: Any) -> bool:
    return isinstance(value, str)


def _is_size(value: Any, least: int) -> bool:
    return type(value) is int and value >= least


def _match(path: str, expected: Any, value: Any, found: dict[str, Tensor]) -> None:
    """Walk an argument along its captured structure, collecting tensors by input name."""
    if isinstance(expected, Ref):
        if not isinstance(value, Tensor):
            kind = type(value).__name__
            raise InputError(f"input {path!r}: found {kind}, it was captured as a tensor")
        found[expected.name] = value
    elif isinstance(expected, (list, tuple)):
        if not isinstance(value, (list, tuple)) or len(value) != len(expected):
            raise InputError(f"input {path!r}: it was captured as {len(expected)} values")
        for index, (wanted, item) in enumerate(zip(expected, value, strict=True)):
            _match(f"{path}[{index}]", wanted, item, found)
    elif isinstance(expected, dict):
        if not isinstance(value, Mapping) or set(value) != set(expected):
            raise InputError(f"input {path!r}: it was captured as a dict of {list(expected)}")
        for key, wanted in expected.items():
            _match(f"{path}[{key!r}]", wanted, value[key], found)
    elif _number(value) != expected:
        raise InputError(
            f"input {path!r}: found {value!r}, the network was captured with {expected!r}; "
            "capture it again with that value, or as a tensor where it may vary"
        )


def _number(value: Any) -> Any:
    """What a tensor of one element holds; None for a larger one, anything else as it is."""
    if not isinstance(value, Tensor):
        return value
    return value.item() if value.numel() == 1 else value.shape


def as_captured(value: Tensor, shape: tuple[int, ...], batch: int, single: bool) -> Tensor:
    """`value` as `shape` where both hold one number a sample, or one for all (`single`)."""
    if tuple(value.shape) == shape or value.numel() != (len(value) if value.ndim else 1):
        return value
    if single:
        value = value.flatten()
        same = value.numel() > 0 and bool((value == value[0]).all())
        return value[0].reshape(shape) if same else value
    if value.ndim == len(shape):
        return value
    if shape[0] == BATCH and all(size == 1 for size in shape[1:]):
        return value.reshape(-1).expand(max(batch, value.numel())).reshape(-1, *shape[1:])
    return value
