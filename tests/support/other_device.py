"""A second device made of the CPU, so that code which mixes devices fails where there is no GPU.

Tensors on it say that they are on `other:0` and keep their values in a tensor on the CPU. As on a
GPU, an operation on tensors of both places is refused, but for copies, numbers and an index on the
CPU.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor
from torch.utils import _pytree as pytree
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils.backend_registration import _setup_privateuseone_for_python_backend

_setup_privateuseone_for_python_backend("other")
OTHER = torch.device("other:0")
COPIES = {"aten.copy_.default", "aten._to_copy.default"}
INDEXES = {"aten.index.Tensor", "aten._unsafe_index.Tensor", "aten.index_put.default",
           "aten.index_put_.default", "aten._index_put_impl_.default"}  # fmt: skip
READS = {"aten._local_scalar_dense.default", "aten.equal.default", "aten.is_nonzero.default"}


class There(Tensor):
    """A tensor on the other device; `here` holds its values."""

    here: Tensor

    @staticmethod
    def __new__(cls, here: Tensor) -> There:
        made: There = torch.Tensor._make_wrapper_subclass(  # type: ignore[attr-defined]
            cls, here.size(), strides=here.stride(), storage_offset=here.storage_offset(),
            dtype=here.dtype, layout=here.layout, device=OTHER,
        )  # fmt: skip
        made.here = here
        return made

    @classmethod
    def __torch_dispatch__(cls, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        return run(func, args, kwargs or {})

    def untyped_storage(self) -> Any:
        return self.here.untyped_storage()

    def data_ptr(self) -> int:
        return self.here.data_ptr()

    def tolist(self) -> Any:
        return self.here.tolist()

    def __repr__(self) -> str:  # type: ignore[override]
        return f"There({self.here})"

    def __format__(self, spec: str) -> str:
        return format(self.here, spec)


class Everywhere(TorchDispatchMode):
    """Sends every operation through `run`: those that make tensors there, too."""

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        return run(func, args, kwargs or {})


def run(func: Any, args: Any, kwargs: dict[str, Any]) -> Any:
    """One operation, on the values; its result is where it would be."""
    leaves, spec = pytree.tree_flatten((args, kwargs))
    name = str(func)
    refuse_mixed(name, args, leaves)
    here_args, here_kwargs = pytree.tree_unflatten(list(map(on_cpu, leaves)), spec)
    found = func(*here_args, **here_kwargs)
    if name in READS or not goes_there(name, args, kwargs, leaves):
        return found
    if func._schema.is_mutable and isinstance(args[0], There) and found is args[0].here:
        return args[0]
    return pytree.tree_map_only(Tensor, lambda v: v if isinstance(v, There) else There(v), found)


def refuse_mixed(name: str, args: Any, leaves: list[Any]) -> None:
    """RuntimeError for operands in both places, as PyTorch says it."""
    tensors = [leaf for leaf in leaves if isinstance(leaf, Tensor)]
    there = [leaf for leaf in tensors if isinstance(leaf, There)]
    here = [leaf for leaf in tensors if not isinstance(leaf, There) and leaf.ndim]
    if name in INDEXES:
        if not isinstance(args[0], There) and there:
            raise RuntimeError("indices should be on the same device as the indexed tensor (cpu)")
        return
    first = args[0] if args else None
    written = name.split(".")[1].endswith("_") and type(first) is Tensor
    if there and (here or written) and name not in COPIES:  # a number here is not written to, too
        raise RuntimeError(f"Expected all tensors to be on the same device ({name})")


def goes_there(name: str, args: Any, kwargs: dict[str, Any], leaves: list[Any]) -> bool:
    """Whether the result is on the other device."""
    if kwargs.get("device") is not None:
        return torch.device(kwargs["device"]).type == OTHER.type
    if name in INDEXES or name in COPIES:
        return isinstance(args[0], There)
    return any(isinstance(leaf, There) for leaf in leaves)


def on_cpu(leaf: Any) -> Any:
    if isinstance(leaf, There):
        return leaf.here
    there = isinstance(leaf, torch.device) and leaf.type == OTHER.type
    return torch.device("cpu") if there else leaf


@contextmanager
def other_device() -> Iterator[torch.device]:
    """The device, while this is open."""
    future = torch.__future__
    before = future.get_overwrite_module_params_on_conversion()
    future.set_overwrite_module_params_on_conversion(True)
    try:
        with Everywhere():
            yield OTHER
    finally:
        future.set_overwrite_module_params_on_conversion(before)
