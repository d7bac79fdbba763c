"""From an `nn.Module` to a `Program` by `torch.export`."""

from __future__ import annotations

import logging
import os
import re
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, redirect_stderr, redirect_stdout, suppress
from dataclasses import replace
from io import StringIO
from pathlib import Path
from typing import Any

import torch
from torch import nn
from torch.distributions import Distribution
from torch.export.graph_signature import ConstantArgument, InputKind, OutputKind
from torch.utils import _pytree as pytree

from snnconvert.common.modes import evaluating
from snnconvert.common.warning import warn
from snnconvert.conversion.capture.agreement import agreeing
from snnconvert.conversion.capture.captured import Captured
from snnconvert.conversion.capture.decompose import decomposed
from snnconvert.conversion.capture.examples import Examples, examples_of
from snnconvert.conversion.capture.exported_graph import ExportedGraph, own_path
from snnconvert.conversion.capture.fake_quantize import frozen_fake_quantizers
from snnconvert.conversion.capture.functionalize import functionalized, holds_state
from snnconvert.conversion.capture.numbers import with_numbers
from snnconvert.conversion.graph.program import Node, Program, Ref
from snnconvert.conversion.graph.signature import BATCH, Signature
from snnconvert.conversion.graph.values import leaves, plain_outputs
from snnconvert.errors import InputError, UnsupportedOpError

EXPORTED_FROM = 2  # torch.export takes sizes of 0 and 1 for special
TORCH = str(Path(torch.__file__).parent) + os.sep  # torchvision is no part of it
CAUSES = {  # words of an error, and what they mean
    "PackedParams": "it is an int8 network (torch.ao.quantization.convert), whose arithmetic is "
                    "not PyTorch's: convert the float network, or the one with fake quantisation",
    "uninitialized parameter": "it has lazy layers, whose shapes are not known yet: call it once "
                               "on an input",
    "device": "its tensors are on several devices: register those that its Python code holds as "
              "buffers, or convert it on the CPU",
    ".numpy()": "it makes NumPy arrays of tensors: stay with tensors",
    "which is not a known type": "it returns an object of a class of its own: return tensors, or "
                                 "tuples, dicts or dataclasses of tensors",
}  # fmt: skip
CONSTANT_INPUTS = {InputKind.PARAMETER, InputKind.BUFFER, InputKind.CONSTANT_TENSOR}


class Adapter(nn.Module):
    """Calls a module with arguments by name and turns dataclass results into `Outputs`."""

    def __init__(self, model: nn.Module, variadic: bool) -> None:
        super().__init__()
        self.model = model
        self.variadic = variadic

    def forward(self, values: dict[str, Any]) -> Any:
        found = self.model(*values.values()) if self.variadic else self.model(**values)
        results = pytree.tree_leaves(found)
        if all(leaf is None for leaf in results):
            raise UnsupportedOpError("it returns None: return what it computes")
        for leaf in results:
            if isinstance(leaf, Distribution):
                names = ", ".join(leaf.arg_constraints) or "its parameters"
                raise UnsupportedOpError(
                    f"it returns a distribution ({type(leaf).__name__}), which is no tensor: "
                    f"return what it is made of ({names})"
                )
        return plain_outputs(found)


def capture(model: nn.Module, example_inputs: Any) -> Captured:
    """The program of `model` in evaluation mode, with its weights and buffers.

    Args:
        model: any module that `torch.export` can trace; it is left as it was.
        example_inputs: its arguments: a tensor, a tuple, or a dict of keyword arguments. Axis 0 of
            every tensor that is as long as the first one's is the batch and stays dynamic.

    Raises:
        InputError: the example inputs are no tensors with a batch axis.
        UnsupportedOpError: `torch.export` cannot capture the module, or not rightly.
    """
    examples = examples_of(model, example_inputs)
    if any(value.is_meta for value in (*model.parameters(), *model.buffers())):
        raise InputError(f"{type(model).__name__}: has no values (device meta); load its weights")
    with evaluating(model), frozen_fake_quantizers(model), unchecked_distributions():
        captured = read_exported(decomposed(_exported(model, examples)), examples)
        call = Adapter(model, examples.variadic)
        name = type(model).__name__
        program = agreeing(name, call, captured.program, captured.constants, examples)
    return replace(captured, program=program)


def _exported(model: nn.Module, examples: Examples) -> torch.export.ExportedProgram:
    """With a dynamic batch, or, where the module allows no other, with the batch of the examples.

    Without gradients, so that `torch.no_grad` inside the module leaves no trace.
    """
    adapter = Adapter(model, examples.variadic)
    adapter.training = False
    try:
        return _with_any_batch(adapter, examples, strict=False)
    except Exception as error:  # whatever user code and the tracer raise
        first_error = error
    if fixes_batch(first_error):
        with suppress(Exception):  # reads the code itself, and so follows `len(x)`, but less of it
            return _with_any_batch(adapter, examples, strict=True)
    refuse_half(model)
    try:
        with torch.no_grad(), quiet_tracer():
            exported = torch.export.export(adapter, (examples.values,))
    except Exception as error:
        refuse_wrong(examples, adapter, type(model).__name__)
        reason = explanation(error)
        raise UnsupportedOpError(
            f"{type(model).__name__}: torch.export cannot capture it: {reason}"
        ) from first_error
    warn(
        f"{type(model).__name__}: works only for batches as large as the example "
        f"({examples.batch}): {explanation(first_error)}",
    )
    return exported


def refuse_wrong(examples: Examples, adapter: Adapter, name: str) -> None:
    """InputError where the network itself, not its capture, fails on the example inputs."""
    try:
        with torch.no_grad():
            adapter(examples.values)
    except UnsupportedOpError:  # what it returns is refused in words of its own
        return
    except Exception as error:  # whatever user code raises
        shapes = ", ".join(str(list(value.shape)) for value in leaves(examples.values))
        raise InputError(
            f"{name}: fails on the example inputs, of shape {shapes}: {explanation(error)}; give "
            "inputs that it takes (on the command line --example-shape or --calibrate)"
        ) from error


def _with_any_batch(
    adapter: Adapter, examples: Examples, strict: bool
) -> torch.export.ExportedProgram:
    with torch.no_grad(), quiet_tracer():
        return torch.export.export(
            adapter, (examples.widened,), dynamic_shapes=(examples.dynamic,), strict=strict
        )


@contextmanager
def unchecked_distributions() -> Iterator[None]:
    """Without the checks of `torch.distributions`, which branch on the values of tensors."""
    before = Distribution._validate_args
    Distribution.set_default_validate_args(False)
    try:
        yield
    finally:
        Distribution.set_default_validate_args(before)


@contextmanager
def quiet_tracer() -> Iterator[None]:
    """Without what the tracer prints and logs about an error that is explained afterwards."""
    before = logging.root.manager.disable
    logging.disable(logging.ERROR)
    try:
        with redirect_stdout(StringIO()), redirect_stderr(StringIO()):
            yield
    finally:
        logging.disable(before)


def refuse_half(model: nn.Module) -> None:
    """UnsupportedOpError for weights in half precision."""
    for name, value in model.named_parameters():
        if value.dtype in (torch.float16, torch.bfloat16):
            found = str(value.dtype).removeprefix("torch.")
            raise UnsupportedOpError(f"{name}: is {found}; convert in float32: model.float()")


def explanation(error: Exception) -> str:
    """One line about why an export failed, with a remedy where the cause is a common one."""
    text = str(error).strip()
    first = text.splitlines()[0] if text else type(error).__name__
    cause = next((meaning for words, meaning in CAUSES.items() if words in text), None)
    if cause is not None:
        return cause
    branching = ("data-dependent", "DataDependent", "Boolean value of Tensor", "aten._local_scalar",
                 "aten.is_nonzero", "UserError: Dynamic control flow")  # fmt: skip
    if any(word in text or word in type(error).__name__ for word in branching):
        where = user_line(text)
        return (
            f"its Python code branches on the values of tensors, or makes numbers of them "
            f"({where or first}); use torch.where and tensors, or move it out of forward"
        )
    if fixes_batch(error):
        lines = [line.strip(" -") for line in text.splitlines()[1:] if line.strip()]
        return f"it fixes the batch size ({lines[0] if lines else first})"
    return first


def fixes_batch(error: Exception) -> bool:
    """Whether an export failed because the module's code made a number of the batch's size."""
    first = next(iter(str(error).strip().splitlines()), "")
    return "Constraints violated" in first or "specialized" in first


def user_line(text: str) -> str:
    """The last line of a printed stack that is not PyTorch's, as "model.py:37 in forward"."""
    pattern = r'File "([^"]+)", line (\d+), in (\w+)'
    frames = [frame for frame in re.findall(pattern, text) if not frame[0].startswith(TORCH)]
    return "{}:{} in {}".format(Path(frames[-1][0]).name, *frames[-1][1:]) if frames else ""


def read_exported(exported: torch.export.ExportedProgram, examples: Examples) -> Captured:
    """What an exported `Adapter` computes."""
    constants, paths, trainable, user_inputs = _read_inputs(exported)
    for output_spec in exported.graph_signature.output_specs:
        if output_spec.kind != OutputKind.USER_OUTPUT:
            target = own_path(str(output_spec.target))
            raise holds_state(target, output_spec.kind.name.lower())
    reader = ExportedGraph(exported.graph_module)
    nodes, symbols = reader.nodes, reader.symbols
    output = pytree.tree_unflatten(reader.results, exported.call_spec.out_spec)
    _, spec = pytree.tree_flatten(examples.values)
    values = pytree.tree_unflatten(
        [value.value if isinstance(value, ConstantArgument) else Ref(value.name)
         for value in user_inputs], spec,
    )  # fmt: skip
    inputs = tuple(v.name for v in user_inputs if not isinstance(v, ConstantArgument))
    shapes, axes = _shapes(exported, inputs)
    dtypes = {
        node.name: node.meta["val"].dtype
        for node in exported.graph.nodes
        if node.op == "placeholder" and node.name in inputs
    }
    nodes = [_on_the_input(node, symbols, axes) for node in nodes]
    ranges = [r for size, r in exported.range_constraints.items() if str(size) in axes]
    limits = [limits.upper for limits in ranges]
    finite = [int(limit) for limit in limits if limit.is_finite and limit.is_Integer]
    signature = Signature(
        examples.parameters, values, shapes, min(finite) if finite and axes else None, dtypes,
        smallest_batch([limits.lower for limits in ranges]) if axes else 0,
    )  # fmt: skip
    program = functionalized(Program(inputs, tuple(nodes), output, signature), paths)
    program = with_numbers(program, constants)
    return Captured(program, constants, paths, trainable)


def smallest_batch(lowest: Sequence[Any]) -> int:
    """From the lower limits of all sizes; 2 says nothing, every export has it."""
    return max([int(limit) for limit in lowest if limit > EXPORTED_FROM], default=0)


def _read_inputs(exported: torch.export.ExportedProgram) -> tuple[Any, ...]:
    """Constants, their user names, which of them are parameters, and the caller's inputs."""
    constants, paths, trainable, user_inputs = {}, {}, set(), []
    for spec in exported.graph_signature.input_specs:
        if spec.kind in CONSTANT_INPUTS:
            value = exported.state_dict.get(spec.target)
            value = exported.constants[spec.target] if value is None else value
            constants[spec.arg.name] = value.detach()
            paths[spec.arg.name] = own_path(str(spec.target))
            if spec.kind == InputKind.PARAMETER:
                trainable.add(spec.arg.name)
        elif spec.kind == InputKind.USER_INPUT:
            user_inputs.append(spec.arg)
        else:
            raise UnsupportedOpError(f"input {spec.arg.name}: {spec.kind.name} is not supported")
    return constants, paths, frozenset(trainable), user_inputs


def _shapes(
    exported: torch.export.ExportedProgram, inputs: Sequence[str]
) -> tuple[dict[str, tuple[int, ...]], dict[str, tuple[str, int]]]:
    """Shapes of the inputs, and per symbolic size an input and axis where it can be read."""
    shapes: dict[str, tuple[int, ...]] = {}
    axes: dict[str, tuple[str, int]] = {}
    for node in exported.graph.nodes:
        if node.op != "placeholder" or node.name not in inputs:
            continue
        sizes = node.meta["val"].shape
        shapes[node.name] = tuple(s if isinstance(s, int) else BATCH for s in sizes)
        for axis, size in enumerate(sizes):
            if not isinstance(size, int):
                axes.setdefault(str(size), (node.name, axis))
    return shapes, axes


def _on_the_input(node: Node, symbols: dict[str, str], axes: dict[str, tuple[str, int]]) -> Node:
    """Sizes of inner tensors are read from the input instead: they depend on no spike."""
    if symbols.get(node.name) not in axes:
        return node
    name, axis = axes[symbols[node.name]]
    return replace(node, args=(Ref(name), axis), kwargs={})
