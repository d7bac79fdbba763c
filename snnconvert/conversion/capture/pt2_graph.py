"""The operations in the JSON graph of a `.pt2` file, as nodes. Nothing in it is evaluated."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import torch

from snnconvert.conversion.graph.program import Node, Ref
from snnconvert.errors import CheckpointError, UnsupportedOpError, printable

SCALAR_TYPES = {
    1: torch.uint8, 2: torch.int8, 3: torch.int16, 4: torch.int32, 5: torch.int64,
    6: torch.float16, 7: torch.float32, 8: torch.float64, 12: torch.bool, 13: torch.bfloat16,
}  # fmt: skip
MEMORY_FORMATS = {1: torch.contiguous_format, 2: torch.channels_last, 3: torch.channels_last_3d,
                  4: torch.preserve_format}  # fmt: skip
PLAIN = ("as_int", "as_ints", "as_float", "as_floats", "as_string", "as_strings", "as_bool",
         "as_bools")  # fmt: skip
SYMBOLS = {"as_sym_int", "as_sym_float", "as_sym_bool"}


@dataclass
class GraphReader:
    """Turns the graph of a file into nodes.

    Attributes:
        graph: parsed JSON.
        axes: per symbolic size, the input and axis where it can be read.
    """

    graph: dict[str, Any]
    axes: dict[str, tuple[str, int]]
    found: list[Node] = field(default_factory=list)

    def nodes(self) -> list[Node]:
        for row in self.graph["nodes"]:
            self._add(row)
        return self.found

    def _add(self, row: dict[str, Any]) -> None:
        op = read_op(str(row["target"]))
        layer = read_layer(row.get("metadata", {}))
        args, kwargs = [], {}
        for argument in row["inputs"]:
            value = self._argument(argument["arg"], layer)
            if argument.get("kind") == 2:
                kwargs[str(argument["name"])] = value
            else:
                args.append(value)
        outputs = row["outputs"]
        if len(outputs) == 0:
            return  # an assertion
        ((kind, content),) = outputs[0].items()
        if len(outputs) > 1 or kind == "as_tensors":
            names = content if kind == "as_tensors" else [next(iter(o.values())) for o in outputs]
            name = str(row.get("name") or f"{names[0]['name']}_all")
            self.found.append(Node(name, op, tuple(args), kwargs, layer))
            for index, item in enumerate(names):
                if item["name"]:
                    part = Node(str(item["name"]), "aten.getitem", (Ref(name), index), {}, layer)
                    self.found.append(part)
            return
        name = str(content["name"] if "name" in content else content["as_name"])
        if op == "aten.sym_size.int":
            args = self._on_the_input(name, args)
        self.found.append(Node(name, op, tuple(args), kwargs, layer))

    def _on_the_input(self, name: str, args: list[Any]) -> list[Any]:
        """Sizes of inner tensors are read from the input instead: they depend on no spike."""
        size = self.graph.get("sym_int_values", {}).get(name, {})
        where = self.axes.get(str(size.get("as_expr", {}).get("expr_str")))
        return args if where is None else [Ref(where[0]), where[1]]

    def _argument(self, argument: dict[str, Any], layer: str) -> Any:
        ((kind, value),) = argument.items()
        if kind == "as_none":
            return None
        if kind == "as_tensor":
            return Ref(str(value["name"]))
        if kind == "as_tensors":
            return [Ref(str(item["name"])) for item in value]
        if kind == "as_optional_tensor":
            return self._argument(value, layer)
        if kind == "as_optional_tensors":
            return [self._argument(item, layer) for item in value]
        if kind in PLAIN:
            return checked_plain(value)
        if kind in SYMBOLS:
            return symbol(value)
        if kind in {f"{name}s" for name in SYMBOLS}:
            return [symbol(item) for item in value]
        if kind == "as_scalar_type" and value in SCALAR_TYPES:
            return SCALAR_TYPES[value]
        if kind == "as_memory_format" and value in MEMORY_FORMATS:
            return MEMORY_FORMATS[value]
        if kind == "as_layout" and value == 7:
            return torch.strided
        if kind == "as_device":
            return torch.device("cpu")
        raise UnsupportedOpError(f"{layer or '(root)'}: an argument of kind {kind!r} is refused")


def read_op(target: str) -> str:
    """ "aten.conv2d.default" of "torch.ops.aten.conv2d.default"; the rule table decides on it."""
    if target == "_operator.getitem":
        return "aten.getitem"
    if target.startswith("_operator."):
        return target.replace("_operator.", "operator.", 1)
    return target.removeprefix("torch.ops.")


def read_layer(metadata: dict[str, Any]) -> str:
    """Dotted path of the module: the last entry of "key,path,class;key,path,class"."""
    stack = str(metadata.get("nn_module_stack", ""))
    parts = stack.split(";")[-1].split(",")
    return printable(parts[1]) if len(parts) > 2 else ""


def symbol(value: dict[str, Any]) -> Any:
    """A computed size by name, or a number."""
    ((kind, content),) = value.items()
    return Ref(str(content)) if kind == "as_name" else checked_plain(content)


def checked_plain(value: Any) -> Any:
    """Numbers, strings and lists of them; CheckpointError for anything else."""
    if isinstance(value, list):
        return [checked_plain(item) for item in value]
    if value is None or isinstance(value, (bool, int, str)):
        return value
    if isinstance(value, float):
        return value
    if isinstance(value, dict) and len(value) == 1:
        return checked_plain(next(iter(value.values())))
    raise CheckpointError(f"found {value!r} where a number is needed")
