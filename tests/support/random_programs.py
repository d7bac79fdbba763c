"""Random networks: layers, patterns, and calls of every operation of the rule table.

A network is a list of steps, each of which reads values made before; a step stays only where the
values it gives are finite, small, and one a sample for batches of two sizes.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from random import Random
from typing import Any

import torch
from hypothesis import strategies as st
from torch import Tensor, nn

import tests.support.random_layers as layers
from tests.support.random_operations import SHARP, Call, callable_operations, random_call

ROWS, FEW = 6, 3  # batches that the steps are tried with
MOST_VALUES, LARGEST = 300, 30.0
SHAPES = (
    (6,), (5,), (4, 6), (3, 8), (3, 12), (2, 6, 6), (3, 5, 5), (2, 4, 4, 4),
)  # fmt: skip


@dataclass(frozen=True)
class Step:
    """Values `reads` go through `call`, a module or an operation of the table."""

    call: Callable[..., Any]
    reads: tuple[int, ...]
    shared: bool = False

    def __str__(self) -> str:
        text = " ".join(str(self.call).split())
        return f"{text} of {', '.join(f'v{i}' for i in self.reads)}" + " again" * self.shared


class RandomNetwork(nn.Module):
    """Runs its steps; returns one value, several, or a dictionary of them."""

    def __init__(self, steps: list[Step], outputs: list[int], form: str) -> None:
        super().__init__()
        self.steps, self.outputs, self.form = steps, outputs, form
        modules = [step.call for step in steps if isinstance(step.call, nn.Module)]
        self.layers = nn.ModuleList(dict.fromkeys(modules))

    def forward(self, *inputs: Tensor) -> Any:
        values = list(inputs)
        for step in self.steps:
            values.append(result(step, values))
        found = [values[i] for i in self.outputs]
        if self.form == "one":
            return found[0]
        return tuple(found) if self.form == "tuple" else {f"y{i}": v for i, v in enumerate(found)}


def result(step: Step, values: list[Tensor]) -> Tensor:
    """The first tensor that a step gives, of the type of what it reads."""
    found = step.call(*(values[i] for i in step.reads))
    while isinstance(found, (tuple, list)):
        found = found[0]
    kind = values[step.reads[0]].dtype
    return found if found.dtype == kind else found.to(kind)


@dataclass
class RandomProgram:
    """A network with inputs for it.

    Attributes:
        smooth: no operation of it jumps, or is steep somewhere.
        operations: of the table that it calls by themselves.
    """

    network: RandomNetwork
    inputs: tuple[Tensor, ...]
    smooth: bool
    operations: frozenset[str]

    def __repr__(self) -> str:
        first = len(self.inputs)
        lines = [f"v{i} = input {list(v.shape)}, {v.dtype}" for i, v in enumerate(self.inputs)]
        steps = enumerate(self.network.steps, first)
        lines += [f"v{i} = {step}" for i, step in steps]
        outputs = ", ".join(f"v{i}" for i in self.network.outputs)
        return "\n".join(["", *lines, f"{self.network.form}: {outputs}"])

    def batch(self, rows: int) -> tuple[Tensor, ...]:
        return tuple(value[:rows].clone() for value in self.inputs)


class Growing:
    """Values by index, for two sizes of the batch, and the steps that made them."""

    def __init__(self, inputs: tuple[Tensor, ...], random: Random) -> None:
        self.random = random
        self.many = [value.clone() for value in inputs]
        self.few = [value[:FEW].clone() for value in inputs]
        self.steps: list[Step] = []

    @torch.no_grad()
    def takes(self, step: Step) -> bool:
        """Whether `step` fits; it is then one of the steps."""
        try:
            many, few = (result(step, values) for values in (self.many, self.few))
        except (RuntimeError, IndexError, TypeError, ValueError, AssertionError):
            return False
        fits = (
            many.ndim > 1 and many.shape[0] == ROWS and few.shape[0] == FEW
            and many.shape[1:] == few.shape[1:] and 0 < many[0].numel() <= MOST_VALUES
            and many.is_floating_point() and bool(many.isfinite().all())
            and float(many.abs().max()) <= LARGEST
        )  # fmt: skip
        if fits:
            self.steps.append(step)
            self.many.append(many)
            self.few.append(few)
        return fits

    def picked(self) -> int:
        """Mostly the last value."""
        last = len(self.many) - 1
        return last if self.random.random() < 0.7 else self.random.randrange(last + 1)

    def grow(self, operations: list[str]) -> None:
        """One more step of a random kind, where the kind that was drawn fits."""
        random, index = self.random, self.picked()
        value = self.many[index]
        kind = random.choices(
            ["weighted", "activation", "norm", "pattern", "operation", "shared", "joined"],
            [0.26, 0.20, 0.06, 0.14, 0.24, 0.04, 0.06],
        )[0]
        if kind == "joined":
            joined = layers.Joined(random.random() < 0.5)
            self.takes(Step(joined, (index, random.randrange(len(self.many)))))
            return
        if kind == "operation":
            self.call(index, operations)
            return
        if kind == "shared":
            made = [step for step in self.steps if isinstance(step.call, nn.Module)]
            if made:
                self.takes(Step(random.choice(made).call, (index,), shared=True))
            return
        maker: dict[str, Callable[[], nn.Module]] = {
            "weighted": lambda: layers.weighted(value, random),
            "activation": lambda: layers.activation(random),
            "norm": lambda: layers.norm(value, random),
            "pattern": lambda: layers.pattern(value, random),
        }
        layer = maker[kind]().to(value.dtype).eval()
        reads = (index,) * (3 if isinstance(layer, nn.MultiheadAttention) else 1)
        self.takes(Step(layer, reads))

    def call(self, index: int, operations: list[str]) -> None:
        """A call of an operation of the table, of `index` and others of its shape."""
        order = [index, *(i for i in range(len(self.many)) if i != index)]
        for _ in range(8):
            op = self.random.choice(operations)
            made = random_call(op, [self.many[i] for i in order], self.random)
            if made is None:
                continue
            call, reads = made
            if self.takes(Step(call, tuple(order[i] for i in reads))):
                return


def random_program(random: Random) -> RandomProgram:
    """A network of 3 to 10 steps that `random` draws, with a batch of inputs."""
    torch.manual_seed(random.randrange(1 << 30))
    dtype = torch.float64 if random.random() < 0.3 else torch.float32
    first = random.choice(SHAPES)
    shapes = [first] + [random.choice([first, *SHAPES]) for _ in range(random.choice([0, 0, 1, 2]))]
    inputs = tuple(torch.randn(ROWS, *shape, dtype=dtype) for shape in shapes)
    growing = Growing(inputs, random)
    growing.takes(Step(layers.weighted(inputs[0], random).to(dtype), (0,)))
    growing.takes(Step(layers.activation(random), (len(growing.many) - 1,)))
    operations = callable_operations()
    for _ in range(random.randrange(1, 8)):
        growing.grow(operations)
    if random.random() < 0.6:
        growing.takes(Step(layers.activation(random), (len(growing.many) - 1,)))
    last = len(growing.many) - 1
    growing.takes(Step(layers.weighted(growing.many[last], random).to(dtype), (last,)))
    outputs, form = [len(growing.many) - 1], "one"
    if random.random() < 0.3:
        outputs.append(random.randrange(len(inputs), len(growing.many)))
        form = random.choice(["tuple", "dict"])
    used = frozenset(step.call.op for step in growing.steps if isinstance(step.call, Call))
    smooth = used.isdisjoint(SHARP)
    network = RandomNetwork(growing.steps, outputs, form).eval()
    return RandomProgram(network, inputs, smooth, used)


def programs() -> st.SearchStrategy[RandomProgram]:
    """Random networks for hypothesis, which makes those that fail smaller."""
    return st.randoms(use_true_random=False).map(random_program)


def numbered(numbers: Sequence[int]) -> st.SearchStrategy[RandomProgram]:
    """The networks of these numbers; hypothesis draws others where code elsewhere changes."""
    return st.sampled_from(numbers).map(lambda number: random_program(Random(number)))
