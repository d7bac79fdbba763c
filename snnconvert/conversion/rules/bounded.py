"""Arithmetic on numbers of Python, which alone has no end: `10 ** 10**9`, `[0] * 10**9`."""

from __future__ import annotations

import operator
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

from snnconvert.errors import InputError

LARGEST = 1 << 63  # of an integer, in magnitude: no size and no index is larger
OPERANDS = (bool, int, float, torch.SymBool, torch.SymInt, torch.SymFloat, Tensor)


def bounded(function: Callable[..., Any]) -> Callable[..., Any]:
    """`function` of numbers; InputError for other operands, and before a result gets out of hand.

    A tensor among the operands is bounded by its memory.
    """

    def run(*args: Any, **kwargs: Any) -> Any:
        for value in (*args, *kwargs.values()):
            if not isinstance(value, OPERANDS):
                raise InputError(f"{function.__name__}: of {type(value).__name__}, not of numbers")
            refuse_large(value)
        if function is operator.pow and all(isinstance(value, int) for value in args):
            refuse_large_power(*args)
        result = function(*args, **kwargs)
        refuse_large(result)
        return result

    return run


def refuse_large_power(base: int, exponent: int) -> None:
    """InputError where `base ** exponent` is too large, without computing it."""
    if exponent > 0 and (abs(base).bit_length() - 1) * exponent > LARGEST.bit_length():
        raise InputError(f"{base} ** {exponent}: is beyond 2 ** 63")


def refuse_large(value: Any) -> None:
    """InputError for an integer that is too large."""
    if isinstance(value, int) and abs(value) > LARGEST:
        raise InputError("an integer is beyond 2 ** 63")
