"""A graph of ONNX operations as a module."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
from torch import nn

from snnconvert.conversion.capture.onnx.steps.call import DataDependent, Run, Step, Value


class Block(nn.Module):
    """Steps in an order in which each finds what it reads.

    Args:
        inputs, outputs: names of values.
        constants: by name.
        steps: the operations.
    """

    def __init__(
        self, inputs: Sequence[str], outputs: Sequence[str], constants: Mapping[str, np.ndarray],
        steps: Sequence[Step], run: Run,
    ) -> None:  # fmt: skip
        super().__init__()
        self.inputs, self.outputs = tuple(inputs), tuple(outputs)
        self.held = dict(constants)
        self.run = run
        self.put(steps)

    @property
    def steps(self) -> list[Step]:
        return [self._modules[name] for name in self.order]  # type: ignore[misc]

    def put(self, steps: Sequence[Step]) -> None:
        """Hold these steps and no others."""
        for name in list(self._modules):
            del self._modules[name]
        self.order = [step.node.name for step in steps]
        for step in steps:
            self.add_module(step.node.name, step)
        self.last: dict[str, int] = {}  # at which step a value is read last
        for index, step in enumerate(steps):
            self.last.update({name: index for name in step.node.inputs if name})

    def forward(
        self, values: Sequence[Value], outer: Mapping[str, Value | None]
    ) -> tuple[Value, ...]:
        known = {**outer, **dict(zip(self.inputs, values, strict=True))}
        for index, step in enumerate(self.steps):
            self.run.current = step.node
            inputs = [self.value(known, name) for name in step.node.inputs]
            try:
                found = step(*inputs)
            except DataDependent as error:
                error.node = step.node  # the outermost one comes last
                raise
            known.update(zip(step.node.outputs, found, strict=False))
            for name in step.node.inputs:
                if name and self.last[name] == index and name not in self.outputs:
                    known.pop(name, None)
        return tuple(self.required(known, name) for name in self.outputs)

    def value(self, known: Mapping[str, Value | None], name: str) -> Value | None:
        if not name:
            return None
        found = self.held.get(name)
        if found is None and name not in known:
            raise ValueError(f"it reads {name!r}, which nothing computes")
        return known[name] if found is None else found

    def required(self, known: Mapping[str, Value | None], name: str) -> Value:
        found = self.value(known, name)
        if found is None:
            raise ValueError(f"the value {name!r} is an output that nothing computes")
        return found
