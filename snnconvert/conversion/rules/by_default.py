"""What an operation without a rule may be: static, or a function of each value.

What no spike reaches is computed once a call, so nothing need be known of it but that it gives the
same every time, writes nothing, and reads nothing but its arguments. What PyTorch itself calls
pointwise is a function like any other, applied to what has accumulated. This is also what a file
may name: a public ATen operation of tensors and plain values that neither draws, writes, nor
touches files, memory or streams. Private operations (`_name`) trust their arguments and have to be
in the table.
"""

from __future__ import annotations

from functools import cache
from typing import Any

import torch

from snnconvert.conversion.graph.program import Node
from snnconvert.conversion.rules.rule import Rule, View

NAMESPACES = ("aten", "prims")
PLAIN = {"Tensor", "int", "float", "bool", "number", "str", "Device"}
# their results are memory that nobody wrote, or they trust arguments that a file may hold
REFUSED_STARTS = ("_", "empty", "new_empty", "resize", "set", "from_file", "as_strided", "record",
                  "nested", "to_padded", "q_", "is_", "pin_", "native_batch_norm", "copy_strided",
                  "device_put", "embedding_renorm")  # fmt: skip
REFUSED_PARTS = ("backward", "unsafe", "sparse", "random", "mkldnn", "cudnn", "miopen", "mps",
                 "quantize", "qparams", "fbgemm", "jvp", "spmm", "sspadd", "slow_conv", "thnn",
                 "overrideable", "_ldl_", "segment_reduce", "ormqr", "crow", "ccol",
                 "_indices_copy", "batch_norm_")  # fmt: skip
TAGS = (torch.Tag.nondeterministic_seeded, torch.Tag.data_dependent_output)

STATIC, STATIC_VIEW = Rule("static"), Rule("static", view=View())
POINTWISE = Rule("accumulated")  # a function of the value at each place: of what has accumulated


@cache
def default_rule(op: str) -> Rule | None:
    """The rule of an operation that the table does not know; None where it must be refused."""
    found = operator_named(op)
    if found is None or not harmless(found, op.split(".")[1]):
        return None
    if torch.Tag.pointwise in found.tags:
        return POINTWISE
    aliases = any(result.alias_info is not None for result in found._schema.returns)
    return STATIC_VIEW if aliases else STATIC


def operator_named(op: str) -> Any:
    """The operator "namespace.name.overload" of the allowed namespaces; None where none is."""
    parts = op.split(".")
    if len(parts) != 3 or parts[0] not in NAMESPACES or not all(p.isidentifier() for p in parts):
        return None
    if any(part.startswith("__") for part in parts):
        return None
    packet = getattr(getattr(torch.ops, parts[0]), parts[1], None)
    found = getattr(packet, parts[2], None)
    return found if isinstance(found, torch._ops.OpOverload) else None


def arguments_of(node: Node) -> dict[str, Any]:
    """What `node` is given, by the names in the schema of its operator; defaults left out."""
    operator = operator_named(node.op)
    names = [argument.name for argument in operator._schema.arguments] if operator else []
    return dict(zip(names, node.args, strict=False)) | node.kwargs


def harmless(operator: Any, name: str) -> bool:
    """Whether its schema says: tensors and plain values in, tensors out, nothing written."""
    schema = operator._schema
    if name.startswith(REFUSED_STARTS) or any(part in name for part in REFUSED_PARTS):
        return False
    if schema.is_mutable or any(tag in operator.tags for tag in TAGS):
        return False
    if any(plain_type(argument.type) not in PLAIN for argument in schema.arguments):
        return False  # generators, streams, storages
    return {plain_type(result.type) for result in schema.returns} == {"Tensor"}


def plain_type(kind: Any) -> str:
    """ "Tensor" of `Optional[List[Tensor]]` and the like."""
    return str(kind).replace("Optional[", "").replace("List[", "").rstrip("]")
