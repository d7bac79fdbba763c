"""Integers and numbers that a caller gives: taken as plain ones, or refused in one phrasing."""

from __future__ import annotations

import contextlib
import math
import operator
from numbers import Integral, Real

from snnconvert.errors import InputError

MOST = 2**31 - 1  # of what is counted, such as images: every size of a tensor takes it
AT_ONCE = 4096  # images that are drawn together, where no batches are cut


def checked_integer(
    name: str, value: object, least: int, most: int | None = None, note: str = ""
) -> int:
    """`value` as an int; numpy's integers are integers, booleans and 2.0 are not.

    Args:
        least, most: what is allowed, both included; None: no bound above.
        note: follows what is allowed.

    Raises:
        InputError: "name: found X, allowed are integers ...".
    """
    if isinstance(value, Integral) and not isinstance(value, bool):
        number = operator.index(value)
        if number >= least and (most is None or number <= most):
            return number
    wanted = f"from {least} up" if most is None else f"{least} ... {most}"
    raise InputError(f"{name}: found {value!r}, allowed are integers {wanted}{note}")


def checked_switch(name: str, value: object) -> bool:
    """`value`, which is true or false. InputError: "name: found X, allowed are True and False"."""
    if type(value).__name__ in ("bool", "bool_"):  # numpy's too, without importing it
        return bool(value)
    raise InputError(f"{name}: found {value!r}, allowed are True and False")


def checked_number(name: str, value: object, interval: str, note: str = "") -> float:
    """`value` as a float; numpy's numbers are numbers, booleans are not.

    Args:
        interval: "(0, 1]", "[0, inf)"; a round bracket leaves its end out.
        note: follows what is allowed.

    Raises:
        InputError: "name: found X, allowed are numbers ..."; NaN is in no interval.
    """
    least, most = (float(end) for end in interval[1:-1].split(","))
    number = math.nan
    if isinstance(value, Real) and not isinstance(value, bool):
        with contextlib.suppress(OverflowError):  # an integer beyond all floats
            number = float(value)
    above = number >= least if interval[0] == "[" else number > least
    if above and (number <= most if interval[-1] == "]" else number < most):
        return number
    wanted = f"in {interval}"
    if math.isinf(most):
        wanted = f"from {least:g} up" if interval[0] == "[" else f"above {least:g}"
    raise InputError(f"{name}: found {value!r}, allowed are numbers {wanted}{note}")


def set_integers(
    settings: object, least: dict[str, int], of: str = "", most: dict[str, int] | None = None
) -> None:
    """Check fields of a frozen dataclass and hold them as ints; `of` opens every message."""
    for name, smallest in least.items():
        largest = (most or {}).get(name)
        number = checked_integer(f"{of}{name}", getattr(settings, name), smallest, largest)
        object.__setattr__(settings, name, number)


def like_default(name: str, value: object, default: object) -> object:
    """`value` in the type of `default`; a whole number is a float too, a list a tuple of integers.

    Raises:
        InputError: another type; True is no integer.
    """
    if isinstance(default, float) and type(value) is int:
        return float(value)
    if isinstance(default, tuple):
        if isinstance(value, list | tuple) and all(type(item) is int for item in value):
            return tuple(value)
    elif type(value) is type(default):
        return value
    wanted = "list of integers" if isinstance(default, tuple) else type(default).__name__
    raise InputError(f"{name}: found {value!r}, allowed is a {wanted}")
