"""An ONNX graph as a PyTorch module."""

from __future__ import annotations

import inspect
import keyword
import re
from collections.abc import Mapping, Sequence
from types import MappingProxyType
from typing import Any

import torch
from torch import Tensor, nn

from snnconvert.common.shapes_alone import shapes_alone
from snnconvert.conversion.capture.onnx.steps.block import Block
from snnconvert.conversion.capture.onnx.steps.call import Run, Step, Value, tensor_of
from snnconvert.errors import CheckpointError, InputError, SnnconvertError

LARGEST = 1 << 31  # bytes of one value; what a file claims beyond is no network
FAILURES = (RuntimeError, ValueError, TypeError, IndexError, KeyError, AttributeError,
            NotImplementedError, ZeroDivisionError, OverflowError, RecursionError,
            AssertionError)  # fmt: skip


class OnnxNetwork(nn.Module):
    """The operations of a file, in evaluation mode; each is a submodule with its weights.

    Args:
        block: its main graph.
        run: what the steps share.
        fixed: inputs whose value is part of it: a call's own value is not looked at.
        halves: whether the file computes in half precision, which is read as float32.
    """

    def __init__(
        self, block: Block, run: Run, fixed: Mapping[str, Tensor] = MappingProxyType({}),
        halves: bool = False,
    ) -> None:  # fmt: skip
        super().__init__()
        for name, step in zip(block.order, block.steps, strict=True):
            self.add_module(name, step)
        self._block = [block]  # not as a module: its steps are this network's own
        self.run = run
        self.halves = halves
        self.fixed_batch: int | None = None
        self.fixed = dict(fixed)
        self.forward = named(self.computed, block.inputs)

    @property
    def block(self) -> Block:
        return self._block[0]

    def computed(self, *inputs: Tensor) -> Any:
        self.run.batch = batch = inputs[0].shape[0] if inputs and inputs[0].ndim else None
        fixed = self.fixed_batch
        if fixed is not None and (isinstance(batch, torch.SymInt) or batch != fixed):
            raise InputError(f"the ONNX file is for batches of exactly {fixed}")
        found = self.block(inputs, {})
        tensors = tuple(v if isinstance(v, Tensor) else tensor_of(v) for v in found)
        return tensors[0] if len(tensors) == 1 else tensors

    def settle(self, examples: Sequence[Tensor]) -> None:
        """Fold what is constant, check sizes, and take up the weights that are used.

        Raises:
            CheckpointError: the file contradicts itself, or claims sizes beyond `LARGEST`.
            UnsupportedOpError: an operation that cannot be captured.
        """
        with torch.no_grad():
            try:
                fold(self.block)
                for name in [name for name in self._modules if name not in self.block.order]:
                    del self._modules[name]
                self._check_sizes(examples)
                self.run.recording = True
                self(*examples)
            except SnnconvertError:
                raise
            except FAILURES as error:
                raise self.damaged(error) from error
            finally:
                self.run.recording = False

    def _check_sizes(self, examples: Sequence[Tensor]) -> None:
        """Compute shapes alone, so that a claim of terabytes costs nothing."""
        steps = [module for module in self.modules() if isinstance(module, Step)]
        handles = [step.register_forward_hook(check_size) for step in steps]
        try:
            with shapes_alone(mixed=True) as mode:
                self(*(mode.from_tensor(value) for value in examples))
        finally:
            for handle in handles:
                handle.remove()

    def damaged(self, error: Exception) -> CheckpointError:
        node = self.run.current
        where = f"{node.label} ({node.op})" if node is not None else "its graph"
        first = str(error).strip().splitlines()
        reason = first[0] if first else type(error).__name__
        return CheckpointError(
            f"{where}: cannot be computed ({type(error).__name__}: {reason}); the file is damaged, "
            "or the example inputs do not fit it"
        )


def check_size(step: Step, _inputs: Any, found: tuple[Value, ...]) -> None:
    """CheckpointError for a result that is larger than any network's."""
    for value in found:
        if isinstance(value, list):  # a sequence: its parts were looked at before
            continue
        size = value.numel() * value.element_size() if isinstance(value, Tensor) else value.nbytes
        if size > LARGEST:
            raise CheckpointError(
                f"{step.node.label} ({step.node.op}): would make a value of {list(value.shape)}, "
                f"{size / 2**30:.0f} GiB; allowed are {LARGEST >> 30} GiB"
            )


def fold(block: Block) -> None:
    """Compute once what depends on no input."""
    kept = []
    for step in block.steps:
        node = step.node
        step.constants |= {
            i: block.held[n] for i, n in enumerate(node.inputs) if n and n in block.held
        }
        given = [i for i, name in enumerate(node.inputs) if name]
        sequence = "Sequence" in node.op  # of tensors, which no constant holds
        if any(i not in step.constants for i in given) or not node.outputs or sequence:
            kept.append(step)
            continue
        block.run.current = node
        values = [step.constants.get(i) for i in range(len(node.inputs))]
        with shapes_alone(mixed=True):
            check_size(step, values, step(*values))
        for name, value in zip(node.outputs, step(*values), strict=False):
            block.held[name] = value.numpy() if isinstance(value, Tensor) else value
    block.put(kept)


def named(function: Any, names: Sequence[str]) -> Any:
    """`function` of tensors by position, also by the names of the file's inputs."""
    taken: list[str] = []
    for name in names:
        word = re.sub(r"\W+", "_", name).strip("_") or "input"
        word = word if word.isidentifier() else f"input_{len(taken)}"
        while word in taken or word == "self" or keyword.iskeyword(word):
            word += "_"
        taken.append(word)
    kind = inspect.Parameter.POSITIONAL_OR_KEYWORD
    signature = inspect.Signature([inspect.Parameter(name, kind) for name in taken])

    def forward(*args: Any, **kwargs: Any) -> Any:
        return function(*signature.bind(*args, **kwargs).args)

    forward.__signature__ = signature  # type: ignore[attr-defined]
    return forward
