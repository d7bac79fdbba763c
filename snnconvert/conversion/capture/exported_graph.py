"""The operations in an exported graph as nodes, with the blocks inside it laid open."""

from __future__ import annotations

import inspect
import operator
from collections.abc import Sequence
from typing import Any

import torch
from torch import nn

from snnconvert.conversion.graph.program import Node, Ref
from snnconvert.conversion.rules import rule_of
from snnconvert.errors import UnsupportedOpError

CHECKS = {"aten._assert_tensor_metadata.default", "aten._assert_scalar.default",
          "aten.sym_constrain_range_for_size.default", "aten.sym_constrain_range.default",
          "aten._assert_async.msg"}  # fmt: skip
NEW_TENSORS = {"aten.new_zeros.default": "aten.zeros.default",
               "aten.new_ones.default": "aten.ones.default",
               "aten.new_full.default": "aten.full.default"}  # fmt: skip
GRADIENT_BLOCK, AUTOCAST_BLOCK = "wrap_with_set_grad_enabled", "wrap_with_autocast"


class ExportedGraph:
    """Reads a graph node by node.

    Attributes:
        nodes: operations in order.
        results: what the graph returns, flat.
        symbols: per `sym_size` node, the symbolic size that it stands for.
    """

    def __init__(self, module: nn.Module) -> None:
        self.nodes: list[Node] = []
        self.symbols: dict[str, str] = {}
        self.results = self._read(module, "", {})

    def _read(self, module: Any, prefix: str, values: dict[str, Any]) -> Sequence[Any]:
        """Read a graph whose node names get `prefix`; `values`: what its placeholders stand for."""

        def reference(value: Any) -> Any:
            if isinstance(value, torch.fx.Node):
                return values.get(value.name, Ref(prefix + value.name))
            if isinstance(value, (list, tuple)):
                items = [reference(item) for item in value]
                return tuple(items) if isinstance(value, tuple) else items
            if isinstance(value, dict):
                return {key: reference(item) for key, item in value.items()}
            return value

        for node in module.graph.nodes:
            if node.op == "output":
                results = reference(node.args[0])
                return results if isinstance(results, (list, tuple)) else (results,)
            if node.op == "call_function" and (op := op_name(node.target)) not in CHECKS:
                if op in (GRADIENT_BLOCK, AUTOCAST_BLOCK):
                    values[node.name] = self._block(module, node, op, reference)
                elif op == "aten.getitem" and node.args[0].name in values:
                    values[node.name] = values[node.args[0].name][node.args[1]]
                else:
                    self._add(node, op, prefix + node.name, reference)
        return ()

    def _block(self, module: Any, node: torch.fx.Node, op: str, reference: Any) -> Sequence[Any]:
        """The operations of a `no_grad` or `autocast` block; what it returns."""
        place = 4 if op == AUTOCAST_BLOCK else 1
        if op == AUTOCAST_BLOCK and node.args[2]:
            raise UnsupportedOpError(
                f"{layer_of(node) or '(root)'}: computes in reduced precision (autocast); spike "
                "counts need float32: switch autocast off for the conversion"
            )
        inner = getattr(module, str(node.args[place].target))  # type: ignore[union-attr]
        given = [reference(value) for value in node.args[place + 1 :]]
        names = [n.name for n in inner.graph.nodes if n.op == "placeholder"]
        return self._read(inner, f"{node.name}_", dict(zip(names, given, strict=True)))

    def _add(self, node: torch.fx.Node, op: str, name: str, reference: Any) -> None:
        args = reference(tuple(node.args))
        kwargs = {key: reference(value) for key, value in node.kwargs.items()}
        if op in NEW_TENSORS:  # they take nothing but the type from the tensor: cut the tie
            op, args = NEW_TENSORS[op], args[1:]
            kwargs = {"dtype": node.meta["val"].dtype}
        self.nodes.append(Node(name, op, args, kwargs, layer_of(node)))
        if op == "aten.sym_size.int":
            self.symbols[name] = str(node.meta["val"])


def op_name(target: Any) -> str:
    """ "aten.conv2d.default" for an operator, "aten.getitem" for indexing a list of results.

    A function of Python's numbers is "operator.round", also where it has no rule.
    """
    if target is operator.getitem:
        return "aten.getitem"
    if not inspect.isroutine(target):
        return str(target)
    name = f"operator.{target.__name__}"
    rule = rule_of(name)
    return name if rule is None or rule.function is target else str(target)


def own_path(path: str) -> str:
    """The user's dotted path of something inside the `Adapter`."""
    return path.removeprefix("model.") if path != "model" else ""


def layer_of(node: torch.fx.Node) -> str:
    """Dotted path of the module that called the operation."""
    stack = node.meta.get("nn_module_stack") or {}
    return own_path(str(list(stack.values())[-1][0])) if stack else ""
