"""Example inputs: which argument is which, where the batch is, and how to keep it dynamic."""

from __future__ import annotations

import inspect
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils import _pytree as pytree

from snnconvert.conversion.graph.signature import arguments_of
from snnconvert.errors import InputError


@dataclass(frozen=True)
class Examples:
    """Example arguments of one call.

    Attributes:
        parameters: names of the module's arguments in order.
        values: the given ones by name.
        widened: the same with two rows or more: export would bake a batch of one into the graph.
        dynamic: the same structure with a dynamic axis 0 for every tensor of the batch.
        batch: its size.
        variadic: whether the module takes `*args`.
    """

    parameters: tuple[str, ...]
    values: dict[str, Any]
    widened: dict[str, Any]
    dynamic: dict[str, Any]
    batch: int
    variadic: bool

    def row(self, leaf: Any) -> Any:
        """The first row of a tensor of the batch; anything else as it is."""
        return leaf[:1] if _in_batch(leaf, self.batch) else leaf


def examples_of(model: nn.Module, example_inputs: Any) -> Examples:
    """The example inputs of `model`, checked.

    Raises:
        InputError: no tensor among them, an empty batch, half precision, or other arguments than
            the module takes.
    """
    args, kwargs = arguments_of(example_inputs)
    parameters, variadic = parameters_of(model, args)
    if len(parameters) == 1 and not args and not variadic and not set(kwargs) & set(parameters):
        args, kwargs = (kwargs,), {}  # a dict is its only argument
    variadic |= isinstance(model, torch.fx.GraphModule) and not kwargs  # what an export gives
    if len(args) > len(parameters) or set(kwargs) & set(parameters[: len(args)]):
        raise InputError(
            f"example_inputs: found {len(args)} by position and {list(kwargs)} by name; "
            f"{type(model).__name__} takes ({', '.join(parameters)})"
        )
    values = {**dict(zip(parameters, args, strict=False)), **kwargs}
    tensors = [leaf for leaf in pytree.tree_leaves(values) if isinstance(leaf, Tensor)]
    with_rows = [tensor for tensor in tensors if tensor.ndim > 0]
    if not with_rows or len(with_rows[0]) < 1:
        raise InputError(
            f"example_inputs: found {_kinds(values)}, needed is at least one tensor "
            "[B, ...] with a batch of 1 or more"
        )
    for tensor in tensors:
        check_precision(tensor, "example_inputs")
        if tensor.layout != torch.strided:
            raise InputError(
                f"example_inputs: found a sparse tensor ({tensor.layout}), needed is a dense one: "
                "x.to_dense()"
            )
    batch = len(with_rows[0])

    def widen(leaf: Any) -> Any:
        if not isinstance(leaf, Tensor):
            return leaf
        alone = batch == 1 and _in_batch(leaf, batch)
        return torch.cat([leaf, leaf]) if alone else leaf.clone()  # export leaves marks on it

    def spec(leaf: Any) -> Any:
        return {0: torch.export.Dim.DYNAMIC} if _in_batch(leaf, batch) else None

    return Examples(
        parameters, values, pytree.tree_map(widen, values), pytree.tree_map(spec, values),
        batch, variadic,
    )  # fmt: skip


def _in_batch(leaf: Any, batch: int) -> bool:
    return isinstance(leaf, Tensor) and leaf.ndim > 0 and len(leaf) == batch


def _kinds(values: dict[str, Any]) -> str:
    return ", ".join(type(value).__name__ for value in values.values()) or "nothing"


def check_precision(tensor: Tensor, name: str) -> None:
    """InputError for half precision, in which spike counts and thresholds would be rounded."""
    if tensor.dtype in (torch.float16, torch.bfloat16):
        found = str(tensor.dtype).removeprefix("torch.")
        raise InputError(
            f"{name}: found {found}; conversion needs float32: use model.float() and x.float()"
        )


def parameters_of(model: nn.Module, args: tuple[Any, ...]) -> tuple[tuple[str, ...], bool]:
    """Names of the arguments of `model.forward`, and whether it takes `*args`."""
    names: list[str] = []
    for parameter in inspect.signature(model.forward).parameters.values():
        if parameter.kind is parameter.VAR_POSITIONAL:
            extra = len(args) - len(names)
            return (*names, *(f"{parameter.name}_{i}" for i in range(extra))), True
        if parameter.kind is not parameter.VAR_KEYWORD:
            names.append(parameter.name)
    return tuple(names), False
