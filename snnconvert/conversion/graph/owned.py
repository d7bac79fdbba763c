"""Tensors that belong to one network alone."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from torch import Tensor

ALIGNMENT = 64  # bytes; what PyTorch allocates begins there, and so does what a file is read into


def owned(constants: Mapping[str, Tensor], others: Iterable[Tensor]) -> dict[str, Tensor]:
    """`constants`, each of which that shares memory with any of `others` as a copy.

    So is what begins at an unaligned address, as a slice or another library's array may: kernels
    are chosen by it, and a copy, a file or another process would differ in a last bit.
    No more is copied than that, and what two names share they share in the copy too: the result
    takes at most the memory of `others` again.
    """
    foreign = {memory_of(value) for value in others}
    copies: dict[tuple[object, ...], Tensor] = {}

    def own(value: Tensor) -> Tensor:
        if memory_of(value) not in foreign and value.data_ptr() % ALIGNMENT == 0:
            return value
        key = seen_as(value)
        if key not in copies:
            copies[key] = value.detach().clone()
        return copies[key]

    return {name: own(value) for name, value in constants.items()}


def on_cpu(constants: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """`constants` on the CPU; what two names share they share there, too."""
    once = {seen_as(value): value for value in constants.values()}
    copies = {key: value.cpu() for key, value in once.items()}
    return {name: copies[seen_as(value)] for name, value in constants.items()}


def seen_as(value: Tensor) -> tuple[object, ...]:
    """What is the same for two names of one tensor, such as tied weights."""
    return value.device, value.data_ptr(), value.dtype, value.shape, value.stride()


def memory_of(value: Tensor) -> tuple[object, int]:
    """What is the same for all tensors that share memory."""
    return value.device, value.untyped_storage().data_ptr()
