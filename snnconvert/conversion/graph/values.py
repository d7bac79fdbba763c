"""What programs read and return: references to values, nested; results by key."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

from torch import Tensor
from torch.utils import _pytree as pytree


@dataclass(frozen=True)
class Ref:
    """The value of another node, an input or a constant, by name."""

    name: str


class Outputs(dict[str, Any]):
    """What a network returns in place of a dataclass: by key, by attribute, or by position."""

    def __getattr__(self, name: str) -> Any:
        if name in self:
            return self[name]
        raise AttributeError(f"outputs: found {name!r}, there are {', '.join(self)}")

    def __getitem__(self, key: Any) -> Any:
        return list(self.values())[key] if isinstance(key, int) else super().__getitem__(key)


pytree.register_pytree_node(
    Outputs,
    lambda outputs: (list(outputs.values()), list(outputs)),
    lambda values, keys: Outputs(zip(keys, values, strict=True)),
    serialized_type_name="snnconvert.Outputs",
)


def rebuilt(value: Any, change: Callable[[Any], Any]) -> Any:
    """A list, tuple or dict of the same type with every item changed."""
    if isinstance(value, dict):
        return type(value)((key, change(item)) for key, item in value.items())
    if hasattr(value, "_fields"):  # a named tuple
        return type(value)(*map(change, value))
    return type(value)(map(change, value))


def plain_outputs(value: Any) -> Any:
    """`value` with dataclasses and dict subclasses (diffusers' BaseOutput) as `Outputs`."""
    if isinstance(value, dict):
        items = ((str(key), plain_outputs(item)) for key, item in value.items())
        return dict(items) if type(value) is dict else Outputs(items)
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        fields = ((f.name, getattr(value, f.name)) for f in dataclasses.fields(value))
        return Outputs((name, plain_outputs(item)) for name, item in fields if item is not None)
    if isinstance(value, (list, tuple)):
        if hasattr(value, "_fields"):
            return Outputs(zip(value._fields, map(plain_outputs, value), strict=True))
        return type(value)(map(plain_outputs, value))
    return value


def leaves(value: Any) -> list[Tensor]:
    """Every tensor in the result of a network, in order."""
    return [leaf for leaf in pytree.tree_leaves(plain_outputs(value)) if isinstance(leaf, Tensor)]


def references(value: Any) -> Iterator[Ref]:
    """Every `Ref` inside nested lists, tuples and dicts."""
    if isinstance(value, Ref):
        yield value
    elif isinstance(value, (list, tuple)):
        for item in value:
            yield from references(item)
    elif isinstance(value, dict):
        for item in value.values():
            yield from references(item)


def substitute(value: Any, replace: Callable[[Ref], Any]) -> Any:
    """`value` with each `Ref` replaced; containers keep their type."""
    if isinstance(value, Ref):
        return replace(value)
    if isinstance(value, (list, tuple, dict)):
        return rebuilt(value, lambda item: substitute(item, replace))
    return value
