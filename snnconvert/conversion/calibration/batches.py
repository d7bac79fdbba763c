"""Calibration batches: checked, cut into pieces that fit in memory, a sample of them kept."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from typing import Any

import torch
from torch import Tensor, nn

from snnconvert.conversion.capture.examples import check_precision
from snnconvert.conversion.graph.any_rows import alike, filled
from snnconvert.conversion.graph.program import Program
from snnconvert.conversion.graph.signature import arguments_of
from snnconvert.errors import InputError

CHUNK = 64  # inputs that one pass takes at once
KEPT = 1024  # inputs kept for the passes after the first
KEPT_BYTES = 1 << 28


def check_batches(name: str, batches: Any, such_as: str) -> None:
    """InputError for a single batch, or what is none, where several are wanted."""
    if isinstance(batches, (Tensor, dict, nn.Module)) or not isinstance(batches, Iterable):
        raise InputError(
            f"{name}: found {type(batches).__name__}; give an iterable of batches, each a tensor "
            f"or a tuple or dict of the model's inputs, e.g. {such_as}"
        )


def calls_of(program: Program, batches: Iterable[Any]) -> Iterator[list[Tensor]]:
    """The program's inputs of each call, cut into pieces.

    Raises:
        InputError: no batches; one of another form than the captured inputs, in half precision,
            or with values that are no finite numbers.
    """
    check_batches("calibration", batches, "calibration=[x]")
    empty = True
    for number, batch in enumerate(batches):
        args, kwargs = arguments_of(batch)
        try:
            inputs = program.bind(args, kwargs, any_batch=True)
        except InputError as error:
            more = len(args) + len(kwargs) > len(program.inputs)
            hint = " (labels? pass (x for x, _ in batches))" if more else ""
            raise InputError(f"calibration batch {number}: {error}{hint}") from error
        for name, value in zip(program.inputs, inputs, strict=True):
            name = program.label(name)
            check_precision(value, f"calibration batch {number}, input {name}")
            if value.is_floating_point() and not bool(value.isfinite().all()):
                raise InputError(
                    f"calibration batch {number}, input {name}: holds NaN or infinite values; "
                    "remove them"
                )
        for call in cut(program, inputs):
            empty = False
            yield call
    if empty:
        raise InputError("calibration: it holds no batches; give at least one, better a few")


def cut(program: Program, inputs: Sequence[Tensor]) -> Iterator[list[Tensor]]:
    """Pieces of at most `CHUNK` rows that the network takes; where it takes batches of one size
    alone, such, the last filled up with rows that are there already.
    """
    for some in alike(program, inputs):
        yield from _pieces(program, some)


def _pieces(program: Program, inputs: Sequence[Tensor]) -> Iterator[list[Tensor]]:
    """As `cut`, of inputs with one number for all rows where the network takes one."""
    along = program.batch_inputs
    if program.fixed_batch is not None:
        yield from filled(program, inputs)
        return
    if not along:
        yield list(inputs)
        return
    rows, size = len(inputs[along[0]]), min(CHUNK, program.largest_batch or CHUNK)
    if size < CHUNK:  # evenly: a small rest may be too few for such a network
        size = -(-rows // -(-rows // size))
    for start in range(0, rows, size):
        yield [
            value[start : start + size] if index in along else value
            for index, value in enumerate(inputs)
        ]


def within(program: Program, call: tuple[Any, Any]) -> list[tuple[Any, Any]]:
    """The call (args, kwargs) as it was captured, in pieces where the network takes no such batch.

    What the network was converted from, which knows no other form, takes it so too.
    """
    largest, fixed = program.largest_batch, program.fixed_batch
    found: list[list[Tensor]] = []
    for some in alike(program, program.bind(*call, any_batch=True)):
        rows = program.batch_size(some)
        fits = rows == fixed if fixed is not None else largest is None or rows <= largest
        found += [some] if fits else cut(program, some)
    return [program.unbind(part, positional=len(call[0])) for part in found]


class Kept:
    """A uniform random sample of the inputs seen, at most `KEPT` and `KEPT_BYTES` of them."""

    def __init__(self, program: Program) -> None:
        self.along = program.batch_inputs
        self.largest = program.largest_batch or KEPT
        self.each = program.fixed_batch or 1  # inputs that are kept together
        self.rows: list[list[Tensor]] = []
        self.seen = 0
        self.limit = max(1, KEPT // self.each)
        self.generator = torch.Generator().manual_seed(0)

    def add(self, call: list[Tensor]) -> None:
        count = len(call[self.along[0]]) if self.along else 1
        for row in range(count):
            self.seen += self.each
            place = len(self.rows)
            if place >= self.limit:
                place = int(torch.randint(self.seen // self.each, (), generator=self.generator))
            if place < self.limit:
                one = [v[row : row + 1].clone() if i in self.along else v
                       for i, v in enumerate(call)]  # fmt: skip
                self.rows[place : place + 1] = [one]
                if self.seen == self.each:
                    size = sum(v.numel() * v.element_size() for v in one)
                    self.limit = max(1, min(self.limit, KEPT_BYTES // max(1, size)))

    def calls(self, chunk: int = CHUNK) -> Iterator[list[Tensor]]:
        """The kept inputs again, at most `chunk` rows at a time."""
        chunk = min(chunk, self.largest) if self.along else 1
        for rows in self._alike():
            for start in range(0, len(rows), chunk):
                yield self._together(rows[start : start + chunk])

    def sample(self, count: int) -> list[Tensor]:
        """One call with at most `count` of the kept inputs, evenly spread over them."""
        rows = max(self._alike(), key=len)
        count = min(count, self.largest, len(rows)) if self.along else 1
        return self._together([rows[i * len(rows) // count] for i in range(count)])

    def _alike(self) -> list[list[list[Tensor]]]:
        """The rows that fit into one call: those with the same inputs without a batch axis."""
        contents: dict[int, bytes] = {}  # of a tensor that all rows of one call share
        groups: dict[tuple[bytes, ...], list[list[Tensor]]] = {}
        for row in self.rows:
            shared = [value for i, value in enumerate(row) if i not in self.along]
            for value in shared:
                if id(value) not in contents:
                    contents[id(value)] = value.cpu().numpy().tobytes()
            groups.setdefault(tuple(contents[id(v)] for v in shared), []).append(row)
        return list(groups.values())

    def _together(self, rows: Sequence[list[Tensor]]) -> list[Tensor]:
        """The inputs of one call with these rows."""
        return [
            torch.cat(parts) if index in self.along else parts[0]
            for index, parts in enumerate(zip(*rows, strict=True))
        ]


def kept_of(program: Program, batches: Iterable[Any]) -> Kept:
    """A sample of what `batches` hold. InputError as `calls_of`."""
    kept = Kept(program)
    for call in calls_of(program, batches):
        kept.add(call)
    return kept
