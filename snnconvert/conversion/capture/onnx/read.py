"""From an ONNX file to a captured network that computes what onnxruntime does."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from types import MappingProxyType
from typing import Any

import onnx_ir as ir
from torch import Tensor

from snnconvert.common.warning import warn
from snnconvert.conversion.capture.captured import Captured
from snnconvert.conversion.capture.export import capture, quiet_tracer
from snnconvert.conversion.capture.onnx.any_batch import free_batch, tied
from snnconvert.conversion.capture.onnx.build import Builder, needed, refuse_unknown
from snnconvert.conversion.capture.onnx.excerpt import Excerpt
from snnconvert.conversion.capture.onnx.fusions import fuse
from snnconvert.conversion.capture.onnx.inputs import (
    EXAMPLES,
    Wanted,
    free_size,
    given,
    inputs_wanted,
    made_up,
)
from snnconvert.conversion.capture.onnx.network import OnnxNetwork
from snnconvert.conversion.capture.onnx.parity import (
    Runtime,
    check_parity,
    first,
)
from snnconvert.conversion.capture.onnx.quantisers import lay_open_quantisers
from snnconvert.conversion.capture.onnx.steps.call import DataDependent, Run
from snnconvert.errors import CheckpointError, SnnconvertError


def read_onnx(
    path: str | Path, example_inputs: Any = None, outputs: Sequence[str] | None = None
) -> Captured:
    """The network in an ONNX file, captured, after it gave what onnxruntime gives.

    Its weights keep the names of the nodes that use them. Where the file fixes its batch, another
    batch is taken all the same if rows then turn out to be independent.

    Args:
        path: of the file; opsets 7 and up, weights inside it or beside it.
        example_inputs: its arguments in the order of the file, or a dict by name; needed where
            axes other than the batch may be of any size.
        outputs: names of values at which the network ends; default: its outputs.

    Raises:
        CheckpointError: missing, damaged, or a file that onnxruntime cannot run.
        InputError: example inputs are needed, or do not fit.
        UnsupportedOpError: operations that are not known, named all at once; results that differ
            from onnxruntime's.
    """
    path = Path(path)
    try:
        with quiet_tracer():  # parsers and tracers log what becomes an error of ours
            network, examples, notes = imported(path, example_inputs, outputs)
    except SnnconvertError as error:
        text = str(error)
        raise (error if text.startswith(str(path)) else type(error)(f"{path}: {text}")) from error
    except Exception as error:  # damaged bytes can raise nearly anything inside the parsers
        raise CheckpointError(
            f"{path}: is damaged, or no ONNX file ({type(error).__name__}: {first(error)})"
        ) from error
    for note in notes:
        warn(f"{path}: {note}")
    captured = capture(network, examples)
    if network.run.frees and captured.program.fixed_batch is not None:  # it cannot vary after all
        return capture(network, tied(network, examples))
    return captured


def imported(
    path: Path, example_inputs: Any, outputs: Sequence[str] | None
) -> tuple[OnnxNetwork, tuple[Any, ...], list[str]]:
    """The network of a file, held against onnxruntime, example inputs to capture it with, notes."""
    excerpt = Excerpt(path, None if outputs is None else tuple(outputs))
    while True:
        model = excerpt.model()
        content = None if excerpt.whole else ir.serde.serialize_model(model).SerializeToString()
        wanted = inputs_wanted(model.graph)
        try:
            network, examples = settled(model, excerpt, wanted, example_inputs)
            break
        except DataDependent as error:
            excerpt = excerpt.without(error, wanted, example_inputs is not None)
    runtime = Runtime(path, wanted, content)
    check_parity(network, runtime, examples, path)
    examples = free_batch(network, runtime, wanted, examples)
    numbers = [
        value.item() if item.name in excerpt.fixed else value
        for item, value in zip(wanted, examples, strict=True)
    ]
    return network, tuple(numbers), excerpt.notes(network.fixed)


def network_of(
    model: ir.Model, path: Path, fixed: Mapping[str, Tensor] = MappingProxyType({})
) -> OnnxNetwork:
    """The main graph of a model, which is rewritten, as a module.

    Args:
        fixed: values of inputs that every call shall have.

    Raises:
        CheckpointError: values that the file does not hold.
        UnsupportedOpError: operations without a handler, all of them.
    """
    graph = model.graph
    lay_open_quantisers(graph)
    fuse(graph)
    nodes = needed(graph, graph.outputs)
    refuse_unknown(nodes, path)
    run = Run()
    opset = model.opset_imports.get("", model.opset_imports.get("ai.onnx", 0))
    known = {name: value.numpy() for name, value in fixed.items()}
    block = Builder(opset, run, path).block(graph, known, nodes, graph.outputs)
    halves = any(
        value.dtype in (ir.DataType.FLOAT16, ir.DataType.BFLOAT16)
        for value in graph.initializers.values()
    )
    return OnnxNetwork(block, run, fixed, halves)


def settled(
    model: ir.Model, excerpt: Excerpt, wanted: Sequence[Wanted], example_inputs: Any
) -> tuple[OnnxNetwork, list[Tensor]]:
    """The network of a model, which took up its weights, and example inputs to compute it with."""
    if example_inputs is not None:
        examples = given(wanted, example_inputs)
    else:
        examples = made_up(wanted, free_size(wanted, EXAMPLES))
    fixed = {
        item.name: value
        for item, value in zip(wanted, examples, strict=True) if item.name in excerpt.fixed
    }  # fmt: skip
    network = network_of(model, excerpt.path, fixed)
    try:
        network.settle(examples)
    except CheckpointError:
        if example_inputs is not None:
            raise
        examples = made_up(wanted, 1)  # it says that any batch will do, and yet takes one only
        network.settle(examples)
    return network, examples
