"""Arithmetic, comparison and logic, element by element."""

from __future__ import annotations

import functools
import math
import operator
from collections.abc import Callable
from typing import Any

import numpy as np
import torch
from torch import Tensor

from snnconvert.conversion.capture.onnx.steps.call import LARGEST_HOST, Call, flat, host_array
from snnconvert.conversion.capture.onnx.steps.registry import OPERATIONS, operation

INTEGERS = {torch.uint8, torch.int8, torch.int16, torch.int32, torch.int64}


def with_arrays(function: Callable[..., Any]) -> Callable[[Call], Any]:
    """A function of numbers as a handler of arrays that broadcast, symbolic sizes included."""

    def handler(call: Call) -> Any:
        arrays = [call.host(index) for index in range(call.node.given)]
        shape = np.broadcast_shapes(*(array.shape for array in arrays))
        kinds = {array.dtype for array in arrays}
        if math.prod(shape) > LARGEST_HOST and not any(kind.hasobject for kind in kinds):
            return OPERATIONS[call.node.op].run(call)
        result = np.frompyfunc(function, len(arrays), 1)(*arrays)
        numbers = arrays[-1] if arrays[0].dtype == bool else arrays[0]  # Where has a condition
        dtype = None if any(kind.hasobject for kind in kinds) else numbers.dtype
        items = flat(np.asarray(result, dtype=object)) if shape else [result]
        if any(isinstance(item, (bool, np.bool_)) for item in items):
            dtype = np.dtype(bool)
        return host_array(items, shape, dtype)

    return handler


def divided(a: Any, b: Any) -> Any:
    """ONNX divides integers towards zero."""
    whole = all(isinstance(v, (int, np.integer, torch.SymInt)) for v in (a, b))
    if not whole:
        return a / b
    if isinstance(a, torch.SymInt) or isinstance(b, torch.SymInt):
        return a // b
    share = abs(int(a)) // abs(int(b))
    return share if (a < 0) == (b < 0) else -share


def binary(name: str, function: Callable[..., Any], host: Callable[..., Any] | None) -> None:
    """File a function of two tensors."""

    @operation(name, host=with_arrays(host) if host is not None else None)
    def run(call: Call) -> Tensor:
        a, b = call.operand(0), call.operand(1)
        result: Tensor = function(a, b)
        return result


def divide(a: Any, b: Any) -> Tensor:
    first = a if isinstance(a, Tensor) else b
    mode = "trunc" if first.dtype in INTEGERS else None
    result: Tensor = torch.div(a, b, rounding_mode=mode) if mode else a / b
    return result


def logical(function: Callable[..., Any]) -> Callable[..., Any]:
    return lambda a, b: function(torch.as_tensor(a), torch.as_tensor(b))


BINARY: tuple[tuple[str, Any, Any], ...] = (
    ("Add", operator.add, operator.add), ("Sub", operator.sub, operator.sub),
    ("Mul", operator.mul, operator.mul), ("Div", divide, divided),
    ("Equal", operator.eq, operator.eq), ("Less", operator.lt, operator.lt),
    ("LessOrEqual", operator.le, operator.le), ("Greater", operator.gt, operator.gt),
    ("GreaterOrEqual", operator.ge, operator.ge),
    ("And", logical(torch.logical_and), lambda a, b: bool(a) and bool(b)),
    ("Or", logical(torch.logical_or), lambda a, b: bool(a) or bool(b)),
    ("Xor", logical(torch.logical_xor), lambda a, b: bool(a) != bool(b)),
    ("BitwiseAnd", operator.and_, operator.and_), ("BitwiseOr", operator.or_, operator.or_),
    ("BitwiseXor", operator.xor, operator.xor),
)  # fmt: skip
for name, function, host in BINARY:
    binary(name, function, host)


def mod_host(call: Call) -> Any:
    return with_arrays(math.fmod if call.attribute("fmod", 0) else operator.mod)(call)


@operation("Mod", host=mod_host)
def mod(call: Call) -> Tensor:
    function = torch.fmod if call.attribute("fmod", 0) else torch.remainder
    result: Tensor = function(call.tensor(0), call.operand(1))
    return result


@operation("Pow", host=with_arrays(operator.pow))
def power(call: Call) -> Tensor:
    base, exponent = call.tensor(0), call.value(1)
    if isinstance(exponent, np.ndarray) and exponent.size == 1 and exponent.ndim <= base.ndim:
        number = flat(exponent)[0]
        number = int(number) if float(number).is_integer() else number
        if base.is_floating_point() or isinstance(number, int):
            return base**number
    return torch.pow(base, call.tensor(1)).to(base.dtype)


@operation("BitShift")
def bit_shift(call: Call) -> Tensor:
    x, by = call.tensor(0), call.tensor(1)
    if call.attribute("direction") == "LEFT":
        return torch.bitwise_left_shift(x, by)
    return torch.bitwise_right_shift(x, by)


@operation("Where", host=with_arrays(lambda c, a, b: a if c else b))
def where(call: Call) -> Tensor:
    return torch.where(call.tensor(0), call.tensor(1), call.tensor(2))


def variadic(name: str, function: Callable[..., Any], host: Callable[..., Any] | None) -> None:
    """File a function of any number of tensors."""

    @operation(name, host=with_arrays(host) if host is not None else None)
    def run(call: Call) -> Tensor:
        return functools.reduce(function, call.tensors())


variadic("Sum", torch.add, lambda *items: sum(items))
variadic("Max", torch.maximum, lambda *items: max(items))
variadic("Min", torch.minimum, lambda *items: min(items))


@operation("Mean")
def mean(call: Call) -> Tensor:
    tensors = call.tensors()
    return functools.reduce(torch.add, tensors) / len(tensors)


def unary(name: str, function: Callable[..., Any], host: Callable[..., Any] | None = None) -> None:
    """File a function of one tensor."""

    @operation(name, host=with_arrays(host) if host is not None else None)
    def run(call: Call) -> Tensor:
        result: Tensor = function(call.tensor(0))
        return result


def rounded_down(item: Any) -> Any:
    return item if isinstance(item, (int, torch.SymInt)) else float(math.floor(item))


def rounded_up(item: Any) -> Any:
    return item if isinstance(item, (int, torch.SymInt)) else float(math.ceil(item))


UNARY: tuple[tuple[str, Any, Any], ...] = (
    ("Neg", torch.neg, operator.neg), ("Abs", torch.abs, abs),
    ("Floor", torch.floor, rounded_down), ("Ceil", torch.ceil, rounded_up),
    ("Sqrt", torch.sqrt, None), ("Exp", torch.exp, None), ("Log", torch.log, None),
    ("Reciprocal", torch.reciprocal, None), ("Round", torch.round, None),
    ("Sign", torch.sign, None), ("Erf", torch.erf, None), ("Sin", torch.sin, None),
    ("Cos", torch.cos, None), ("Tan", torch.tan, None), ("Sinh", torch.sinh, None),
    ("Cosh", torch.cosh, None), ("Asin", torch.asin, None), ("Acos", torch.acos, None),
    ("Atan", torch.atan, None), ("Asinh", torch.asinh, None), ("Acosh", torch.acosh, None),
    ("Atanh", torch.atanh, None), ("IsNaN", torch.isnan, None),
    ("Not", torch.logical_not, operator.not_), ("BitwiseNot", torch.bitwise_not, None),
    ("Det", torch.linalg.det, None),
)  # fmt: skip
for name, function, host in UNARY:
    unary(name, function, host)


@operation("IsInf")
def is_infinite(call: Call) -> Tensor:
    x = call.tensor(0)
    found = torch.zeros_like(x, dtype=torch.bool)
    if call.attribute("detect_positive", 1):
        found = found | (x == math.inf)
    if call.attribute("detect_negative", 1):
        found = found | (x == -math.inf)
    return found
