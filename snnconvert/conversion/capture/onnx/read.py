"""From an ONNX file to a captured network that computes what onnxruntime does."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import onnx_ir as ir
from torch import Tensor

from snnconvert.common.registry import nearest
from snnconvert.conversion.capture.captured import Captured
from snnconvert.conversion.capture.export import capture, quiet_tracer
from snnconvert.conversion.capture.onnx.any_batch import free_batch
from snnconvert.conversion.capture.onnx.build import Builder, needed, refuse_unknown
from snnconvert.conversion.capture.onnx.file import opened
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
from snnconvert.conversion.capture.onnx.steps.call import Run
from snnconvert.errors import CheckpointError, InputError, SnnconvertError


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
            network, examples = imported(path, example_inputs, outputs)
    except SnnconvertError as error:
        text = str(error)
        raise (error if text.startswith(str(path)) else type(error)(f"{path}: {text}")) from error
    except Exception as error:  # damaged bytes can raise nearly anything inside the parsers
        raise CheckpointError(
            f"{path}: is damaged, or no ONNX file ({type(error).__name__}: {first(error)})"
        ) from error
    return capture(network, tuple(examples))


def imported(
    path: Path, example_inputs: Any, outputs: Sequence[str] | None
) -> tuple[OnnxNetwork, list[Tensor]]:
    """The network of a file, held against onnxruntime, and example inputs to capture it with."""
    model, content = opened(path), None
    if outputs is not None:
        cut_off(model.graph, outputs, path)
        content = ir.serde.serialize_model(model).SerializeToString()
    wanted = inputs_wanted(model.graph)
    network = network_of(model, path)
    examples = settled(network, wanted, example_inputs)
    runtime = Runtime(path, wanted, content)
    check_parity(network, runtime, examples, path)
    return network, free_batch(network, runtime, wanted, examples)


def network_of(model: ir.Model, path: Path) -> OnnxNetwork:
    """The main graph of a model, which is rewritten, as a module.

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
    block = Builder(opset, run, path).block(graph, {}, nodes, graph.outputs)
    halves = any(
        value.dtype in (ir.DataType.FLOAT16, ir.DataType.BFLOAT16)
        for value in graph.initializers.values()
    )
    return OnnxNetwork(block, run, block.inputs, halves)


def cut_off(graph: ir.Graph, outputs: Sequence[str], path: Path) -> None:
    """Let a graph end at the values that have these names, and nowhere else."""
    known = {str(value.name): value for node in graph for value in node.outputs if value.name}
    for name in outputs:
        if name not in known:
            raise InputError(
                f"{path}: computes no value {name!r}; {nearest(name, known)}its own outputs are "
                f"{', '.join(str(value.name) for value in graph.outputs)}"
            )
    ends = [known[name] for name in outputs]
    nodes = set(needed(graph, ends))
    graph.outputs.clear()
    graph.outputs.extend(ends)
    graph.remove([node for node in graph if node not in nodes], safe=True)


def settled(network: OnnxNetwork, wanted: Sequence[Wanted], example_inputs: Any) -> list[Tensor]:
    """Example inputs with which the network can be computed, after it took up its weights."""
    if example_inputs is not None:
        examples = given(wanted, example_inputs)
        network.settle(examples)
        return examples
    try:
        examples = made_up(wanted, free_size(wanted, EXAMPLES))
        network.settle(examples)
    except CheckpointError:  # it says that any batch will do, and yet takes one only
        examples = made_up(wanted, 1)
        network.settle(examples)
    return examples
