"""One ONNX operation as a module, and what its handler sees of a call.

A value is a tensor, or a numpy array of what is known when the network is captured: constants, and
sizes, which may be symbolic (then the array holds objects).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, NoReturn

import numpy as np
import torch
from torch import Tensor, nn
from torch._subclasses.fake_tensor import FakeTensor

from snnconvert.conversion.capture.onnx.steps.registry import OPERATIONS
from snnconvert.errors import UnsupportedOpError

Value = Tensor | np.ndarray
LARGEST_HOST = 4096  # elements that are worth computing outside the graph
SYMBOLIC = (torch.SymInt, torch.SymFloat, torch.SymBool)


@dataclass(frozen=True)
class OnnxNode:
    """One operation of a file.

    Attributes:
        name: unique, fit for a module.
        label: what the file calls it.
        op: "Conv", or "domain::Op" outside of the standard.
        opset: of the standard, by which it is meant.
        inputs: names, "" where one is left out; behind them, what its subgraphs read from outside.
        outputs: names.
        attributes: plain values and arrays.
        given: how many of `inputs` are its own.
    """

    name: str
    label: str
    op: str
    opset: int
    inputs: tuple[str, ...]
    outputs: tuple[str, ...]
    attributes: Mapping[str, Any] = field(default_factory=dict)
    given: int = 0


class DataDependent(UnsupportedOpError):
    """Only the data say what an operation does next, or how large its result is.

    Attributes:
        node: the operation of the main graph.
        value: what it would have to know.
    """

    def __init__(self, message: str, node: OnnxNode, value: str) -> None:
        super().__init__(message)
        self.node = node
        self.value = value


class Run:
    """What all steps of a network share.

    Attributes:
        recording: whether constants that are used become parameters and buffers.
        frees: whether shapes that hold the file's own batch are read as any batch.
        file_batch: the batch of the file's own shapes; None where it is any.
        batch: of the present call.
        choices: which candidate for the batch a shape takes, by step; the first where nothing says.
        asked: steps that had to choose, with the number of candidates.
        places: what they chose.
        current: the node that is being computed, for messages.
    """

    def __init__(self) -> None:
        self.recording = False
        self.frees = False
        self.file_batch: int | None = None
        self.batch: Any = None
        self.choices: dict[str, int] = {}
        self.asked: dict[str, int] = {}
        self.places: dict[str, int] = {}
        self.current: OnnxNode | None = None


class Step(nn.Module):
    """One operation; its constants become parameters and buffers where it first uses them.

    Args:
        node: the operation.
        constants: known inputs by their position.
        run: what all steps of the network share.
        blocks: subgraphs by attribute.
    """

    def __init__(
        self, node: OnnxNode, constants: dict[int, np.ndarray], run: Run,
        blocks: Mapping[str, nn.Module] | None = None,
    ) -> None:  # fmt: skip
        super().__init__()
        self.node = node
        self.constants = constants
        self.run = run
        for name, block in (blocks or {}).items():
            self.add_module(name, block)

    def forward(self, *values: Value | None) -> tuple[Any, ...]:
        found = OPERATIONS[self.node.op]
        handler = found.run
        if found.host is not None and all(v is None or is_small(v) for v in values):
            handler = found.host
        result = handler(Call(self, values))
        results = result if isinstance(result, tuple) else (result,)
        return tuple(
            v if isinstance(v, (Tensor, np.ndarray, list)) else host_array([v], ()) for v in results
        )

    def kept(self, role: str, array: np.ndarray, trainable: bool) -> Tensor:
        """`array` as a tensor; the module's own one of that name while constants are recorded."""
        own = self._parameters.get(role, self._buffers.get(role))
        if own is not None:
            return own
        tensor = torch.from_numpy(np.ascontiguousarray(array).reshape(array.shape))
        if not self.run.recording:
            return tensor
        if trainable and tensor.is_floating_point():
            self.register_parameter(role, nn.Parameter(tensor))
        else:
            self.register_buffer(role, tensor)
        return self.kept(role, array, trainable)


class Call:
    """What a handler sees: the node and the values of this call."""

    def __init__(self, step: Step, values: Sequence[Value | None]) -> None:
        self.step = step
        self.node = step.node
        self.values = values
        self.opset = step.node.opset

    def attribute(self, name: str, default: Any = None) -> Any:
        return self.node.attributes.get(name, default)

    def has(self, index: int) -> bool:
        return index < self.node.given and self.values[index] is not None

    def value(self, index: int) -> Value:
        found = self.values[index] if index < self.node.given else None
        if found is None:
            self.refuse(f"input {index} is missing", "repair the file")
        return found

    def is_known(self, index: int) -> bool:
        """Whether the input is given and an array."""
        return self.has(index) and isinstance(self.values[index], np.ndarray)

    def is_constant(self, index: int) -> bool:
        """Whether the file itself holds the input."""
        return index in self.step.constants

    def tensor(self, index: int, role: str = "", trainable: bool = False) -> Tensor:
        """An input as a tensor; a constant one as a parameter or buffer called `role`."""
        found = self.value(index)
        if isinstance(found, Tensor):
            return found
        if index in self.step.constants:
            return self.step.kept(role or f"constant_{index}", found, trainable)
        return tensor_of(found)

    def weight(
        self, index: int, role: str, change: Callable[[np.ndarray], np.ndarray] | None = None
    ) -> Tensor:
        """A constant, changed once and for all, as a trainable parameter."""
        array = self.step.constants[index]
        own = self.step._parameters.get(role)
        if own is not None:
            return own
        return self.step.kept(role, change(array) if change else array, True)

    def made(self, role: str, array: np.ndarray) -> Tensor:
        """An array that the handler worked out itself, as a buffer."""
        return self.step.kept(role, array, False)

    def tensors(self) -> list[Tensor]:
        return [self.tensor(index) for index in range(self.node.given)]

    def host(self, index: int) -> np.ndarray:
        """What an input holds, symbolic sizes included; refused where only a run can tell."""
        found = self.value(index)
        if isinstance(found, np.ndarray):
            return found
        if isinstance(found, FakeTensor) or torch.compiler.is_exporting():
            self.depends(index)
        result: np.ndarray = found.detach().cpu().numpy()
        return result

    def ints(self, index: int) -> list[Any]:
        """A list of integers or symbolic sizes."""
        return [
            item if isinstance(item, SYMBOLIC) else int(item) for item in flat(self.host(index))
        ]

    def axes(self, index: int, name: str = "axes") -> list[int] | None:
        """A list of integers that is an attribute of old opsets and an input of new ones."""
        if self.has(index):
            return self.ints(index)
        found = self.attribute(name)
        return None if found is None else list(found)

    def operand(self, index: int) -> Any:
        """A tensor, or a number where a constant of one element does the same."""
        found = self.value(index)
        if isinstance(found, np.ndarray) and found.size == 1 and found.dtype != np.float64:
            others = [v for i, v in enumerate(self.values) if i != index and v is not None]
            if all(
                isinstance(v, Tensor) and v.ndim >= found.ndim and same_kind(v, found)
                for v in others
            ):
                return found.reshape(()).item()
        return self.tensor(index)

    def block(self, name: str) -> Any:
        """A subgraph, ready to be called with its own inputs."""
        outer = dict(
            zip(self.node.inputs[self.node.given :], self.values[self.node.given :], strict=True)
        )
        block = self.step._modules[name]
        return lambda *inputs: block(inputs, outer)  # type: ignore[misc]

    def is_batch(self, size: Any) -> bool:
        """Whether `size` is the batch of this call."""
        batch = self.step.run.batch
        if isinstance(size, SYMBOLIC) or isinstance(batch, SYMBOLIC):
            return str(size) == str(batch)
        return bool(size == batch)

    def depends(self, index: int) -> NoReturn:
        """DataDependent: what is next depends on an input that only a run can tell."""
        value = next(iter(self.node.inputs[index:]), "")
        raise DataDependent(
            f"{self.node.label} ({self.node.op}): its input {index} ({value!r}) is computed from "
            "the data; give example_inputs where it follows from an input, export the network with "
            "that value fixed, or cut it off before this operation (outputs=...)", self.node, value,
        )  # fmt: skip

    def refuse(self, reason: str, remedy: str) -> NoReturn:
        """UnsupportedOpError that names the node."""
        raise UnsupportedOpError(f"{self.node.label} ({self.node.op}): {reason}; {remedy}")


def same_kind(tensor: Tensor, array: np.ndarray) -> bool:
    return tensor.is_floating_point() == (array.dtype.kind == "f") and array.dtype.kind in "fiu"


def is_small(value: Value) -> bool:
    return isinstance(value, np.ndarray) and value.size <= LARGEST_HOST


def flat(array: np.ndarray) -> list[Any]:
    result: list[Any] = array.reshape(-1).tolist()
    return result


def host_array(items: Any, shape: Sequence[int] | None = None, dtype: Any = None) -> np.ndarray:
    """Numbers as an array; of objects where a symbolic one is among them."""
    listed = flat(items) if isinstance(items, np.ndarray) else list(items)
    if shape is None:
        shape = items.shape if isinstance(items, np.ndarray) else (len(listed),)
    if not any(isinstance(item, SYMBOLIC) for item in listed):
        if dtype is None:
            dtype = np.int64 if all(isinstance(i, (int, np.integer)) for i in listed) else None
        return np.array(listed, dtype=dtype).reshape(shape)
    array = np.empty(len(listed), dtype=object)
    for index, item in enumerate(listed):
        array[index] = item
    return array.reshape(shape)


def tensor_of(array: np.ndarray) -> Tensor:
    """An array as a tensor; sizes that are symbolic stay so."""
    if not array.dtype.hasobject:
        return torch.from_numpy(np.ascontiguousarray(array).reshape(array.shape))
    items = flat(array)
    dtype = torch.int64
    if any(isinstance(item, (float, torch.SymFloat)) for item in items):
        dtype = torch.float32
    parts = [torch.scalar_tensor(item, dtype=dtype) for item in items]
    return torch.stack(parts).reshape(array.shape)
