"""From an `nn.Module` to a `Program` by `torch.export`, and proof that both compute the same."""

from __future__ import annotations

import operator
from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor, nn
from torch.export.graph_signature import InputKind, OutputKind
from torch.utils import _pytree as pytree

from snnconvert.conversion.program import Node, Program, Ref
from snnconvert.errors import InputError, UnsupportedOpError

CHECKS = {"aten._assert_tensor_metadata.default", "aten._assert_scalar.default",
          "aten.sym_constrain_range_for_size.default"}  # fmt: skip
CONSTANT_INPUTS = {InputKind.PARAMETER, InputKind.BUFFER, InputKind.CONSTANT_TENSOR}


def capture(
    model: nn.Module, example_inputs: Sequence[Tensor]
) -> tuple[Program, dict[str, Tensor]]:
    """The program of `model` in evaluation mode and its constants (weights, buffers) by name.

    Args:
        model: any module that `torch.export` can trace; it is left as it was.
        example_inputs: its arguments; axis 0 of each is the batch and stays dynamic.

    Raises:
        InputError: the example inputs are no tensors with a batch axis.
        UnsupportedOpError: `torch.export` cannot capture the module.
    """
    examples = [widened(value, index) for index, value in enumerate(example_inputs)]
    was_training = model.training
    model.eval()
    try:
        batch = torch.export.Dim("batch")
        exported = torch.export.export(
            model, tuple(examples), dynamic_shapes=tuple({0: batch} for _ in examples)
        )
    except Exception as error:  # whatever user code and the tracer raise
        first = str(error).strip().splitlines()[0] if str(error).strip() else type(error).__name__
        raise UnsupportedOpError(
            f"{type(model).__name__}: torch.export cannot capture it: {first}"
        ) from error
    finally:
        model.train(was_training)
    return read_exported(exported)


def widened(value: object, index: int) -> Tensor:
    """An example with two rows or more: export would bake a batch of one into the graph."""
    if not isinstance(value, Tensor) or value.ndim < 1 or len(value) < 1:
        raise InputError(
            f"example_inputs[{index}]: found {type(value).__name__}, needed is a tensor [B, ...]"
        )
    return value if len(value) > 1 else torch.cat([value, value])


def read_exported(exported: torch.export.ExportedProgram) -> tuple[Program, dict[str, Tensor]]:
    """`Program` and constants of an exported program."""
    signature = exported.graph_signature
    constants, inputs = {}, []
    for spec in signature.input_specs:
        if spec.kind in CONSTANT_INPUTS:
            constants[spec.arg.name] = _constant(exported, spec.target)
        elif spec.kind == InputKind.USER_INPUT:
            inputs.append(spec.arg.name)
        else:
            raise UnsupportedOpError(f"input {spec.arg.name}: {spec.kind.name} is not supported")
    for spec in signature.output_specs:
        if spec.kind != OutputKind.USER_OUTPUT:
            raise UnsupportedOpError(
                f"{spec.target}: the network changes it in every call ({spec.kind.name}); "
                "a converted network holds no state but its neurons"
            )
    nodes: list[Node] = []
    alias: dict[str, str] = {}

    def reference(value: Any) -> Any:
        if isinstance(value, torch.fx.Node):
            return Ref(alias.get(value.name, value.name))
        if isinstance(value, (list, tuple)):
            items = [reference(item) for item in value]
            return tuple(items) if isinstance(value, tuple) else items
        if isinstance(value, dict):
            return {key: reference(item) for key, item in value.items()}
        return value

    leaves: Sequence[Any] = ()
    for node in exported.graph.nodes:
        if node.op == "output":
            leaves = node.args[0]
        elif node.op == "call_function" and op_name(node.target) not in CHECKS:
            op = op_name(node.target)
            if op == "aten.dropout.default":  # the identity in evaluation mode
                alias[node.name] = reference(node.args[0]).name
                continue
            kwargs = {k: reference(v) for k, v in node.kwargs.items()}
            nodes.append(Node(node.name, op, reference(tuple(node.args)), kwargs, layer_of(node)))
    output = pytree.tree_unflatten(
        [reference(leaf) for leaf in leaves], exported.call_spec.out_spec
    )
    shapes = {
        node.name: node.meta["val"].shape for node in exported.graph.find_nodes(op="placeholder")
    }
    fixed = tuple(
        tuple(size if isinstance(size, int) else None for size in shapes[name]) for name in inputs
    )
    return Program(tuple(inputs), tuple(nodes), output, fixed), constants


def _constant(exported: torch.export.ExportedProgram, target: str) -> Tensor:
    value = exported.state_dict.get(target)
    return (exported.constants[target] if value is None else value).detach()


def op_name(target: Any) -> str:
    """ "aten.conv2d.default" for an operator, "aten.getitem" for indexing a list of results."""
    return "aten.getitem" if target is operator.getitem else str(target)


def layer_of(node: torch.fx.Node) -> str:
    """Dotted path of the module that called the operation."""
    stack = node.meta.get("nn_module_stack") or {}
    return str(list(stack.values())[-1][0]) if stack else ""
