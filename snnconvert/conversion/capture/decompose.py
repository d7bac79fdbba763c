"""Operations without a rule, taken apart into operations that have one.

`torch.concat` is `cat`, `hstack` too; an LSTM of fixed length is linear layers, sigmoids and
products. PyTorch's own tables say how (core ATen and its decompositions). Only what has no rule is
taken apart: a layer norm stays one operation. What no table knows stays as it is; `check` names it
where spikes reach it.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import cache
from typing import Any

import torch
from torch import Tensor
from torch._decomp import decomposition_table
from torch._ops import OpOverload
from torch.export.graph_signature import InputKind

from snnconvert.conversion.rules import listed_rule

COPIES = ("aten.copy_.default", "aten.copy.default")  # written out by `functionalized`
# their parts are checks of the result, which an exported program cannot hold
WHOLE = ("aten.linalg_inv", "aten.inverse", "aten.linalg_solve", "aten.linalg_cholesky",
         "aten.linalg_lu_factor", "aten.linalg_eig", "aten.linalg_ldl", "aten.linalg_tensor",
         "aten.linalg_pinv", "aten.pinverse")  # fmt: skip


def decomposed(exported: torch.export.ExportedProgram) -> torch.export.ExportedProgram:
    """`exported` without operations that have no rule but can be taken apart."""
    tried: set[OpOverload] = set()
    while True:
        unknown = unknown_operations(exported) - tried
        table = {op: how for op in unknown if (how := decomposition(op)) is not None}
        if not table and not any(map(writes_or_views, unknown)):
            return exported
        tried |= unknown  # what a table gives may have no rule either, but it ends some time
        parts = taken_apart(exported, table)
        if parts is None:
            for op, how in table.items():
                exported = taken_apart(exported, {op: how}) or exported
        else:
            exported = parts


def taken_apart(
    exported: torch.export.ExportedProgram, table: dict[OpOverload, Callable[..., Any]]
) -> torch.export.ExportedProgram | None:
    """`exported` with each operation of `table` replaced; None where that is worse than before."""
    try:
        with torch.no_grad():
            parts = exported.run_decompositions(dict(table))
    except Exception:  # whatever a tracer raises on what it cannot take apart
        return None
    if any(spec.kind is InputKind.TOKEN for spec in parts.graph_signature.input_specs):
        return None  # effects that the whole has not
    new = unknown_operations(parts) - unknown_operations(exported)
    return None if any(op.namespace == "prims" for op in new) else parts


def unknown_operations(exported: torch.export.ExportedProgram) -> set[OpOverload]:
    """The operations of `exported`, blocks inside it included, that have no rule."""
    return {
        node.target
        for module in exported.graph_module.modules()
        if isinstance(module, torch.fx.GraphModule)
        for node in module.graph.nodes
        if isinstance(node.target, OpOverload) and not is_known(str(node.target))
    }


def is_known(op: str) -> bool:
    """Whether `op`, or what it does in place, has a rule."""
    if op in COPIES:
        return True
    namespace, _, rest = op.partition(".")
    name, _, overload = rest.partition(".")
    return any(listed_rule(each) for each in (op, f"{namespace}.{name.rstrip('_')}.{overload}"))


def decomposition(op: OpOverload) -> Callable[..., Any] | None:
    """What `op` is made of, as a function; None where nobody says."""
    own = OWN.get(str(op))
    if own is not None or str(op).startswith(WHOLE):
        return own
    usual = usual_decompositions()
    how: Callable[..., Any] | None = usual[op] if op in usual else decomposition_table.get(op)
    return op.decompose if how is None and op._can_decompose() else how


@cache
def usual_decompositions() -> Any:
    """PyTorch's own, by operation; slow to make."""
    return torch.export.default_decompositions()


def writes_or_views(op: OpOverload) -> bool:
    """Whether PyTorch takes `op` apart by itself wherever it takes anything apart."""
    returns = op._schema.returns
    return op._schema.is_mutable or any(value.alias_info is not None for value in returns)


def broadcast_to(x: Tensor, size: list[int]) -> Tensor:
    return x.expand(size)


def positive(x: Tensor) -> Tensor:
    return x.clone()


def copy(x: Tensor, source: Tensor, non_blocking: bool = False) -> Tensor:
    return source.to(x.dtype).expand_as(x)


def hypot(x: Tensor, y: Tensor) -> Tensor:
    return (x * x + y * y).sqrt()


def quantised(
    x: Tensor, scale: Tensor, zero: Tensor, low: int, high: int, grad_factor: float = 1.0
) -> Tensor:
    """PyTorch's quantiser with a learned step, whose gradient is scaled by `grad_factor`."""
    zero = zero.round().clamp(low, high)
    return ((x / scale + zero).round().clamp(low, high) - zero) * scale


def quantised_by_channel(
    x: Tensor, scale: Tensor, zero: Tensor, axis: int, low: int, high: int, grad_factor: float = 1.0
) -> Tensor:
    shape = [-1 if i == axis % x.ndim else 1 for i in range(x.ndim)]
    return quantised(x, scale.view(shape), zero.view(shape), low, high)


OWN: dict[str, Callable[..., Any]] = {
    "aten.broadcast_to.default": broadcast_to,
    "aten.copy.default": copy,
    "aten.positive.default": positive,
    "aten.hypot.default": hypot,
    "aten._fake_quantize_learnable_per_tensor_affine.default": quantised,
    "aten._fake_quantize_learnable_per_channel_affine.default": quantised_by_channel,
}
