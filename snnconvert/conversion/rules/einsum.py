"""What an einsum multiplies and adds up, from its equation."""

from __future__ import annotations

from collections.abc import Sequence
from math import prod

from snnconvert.conversion.rules.rule import Shapes

ELLIPSIS = "..."


def macs_of_einsum(shapes: Shapes, output: Sequence[int], equation: str) -> int:
    """Every value of the result sums over the axes that it does not have."""
    terms, result = terms_of(equation)
    extents: dict[str, int] = {}
    for term, shape in zip(terms, shapes, strict=True):
        for axis, size in zip(axes_of(term, len(shape)), shape, strict=True):
            extents[axis] = max(size, extents.get(axis, 1))
    kept = set(axes_of(result, len(output)))
    return prod(output) * prod(size for axis, size in extents.items() if axis not in kept)


def sums_products(equation: str) -> bool:
    """Whether it multiplies several tensors and adds up along an axis of more than one of them."""
    terms, result = terms_of(equation)
    dotted = [term.replace(ELLIPSIS, ".") for term in terms]
    axes = [axis for term in dotted for axis in set(term)]
    return any(axis not in result for axis in axes if axes.count(axis) > 1)


def terms_of(equation: str) -> tuple[list[str], str]:
    """The axes of what it reads, and those of its result."""
    read, arrow, result = equation.replace(" ", "").partition("->")
    if not arrow:  # then the letters that occur once, in order
        result = "".join(sorted(c for c in set(read) - set(".,") if read.count(c) == 1))
        result = ELLIPSIS * (ELLIPSIS in read) + result
    return read.split(","), result


def axes_of(term: str, rank: int) -> list[str]:
    """A name for each axis; what the dots stand for is counted from the back."""
    before, dots, behind = term.partition(ELLIPSIS)
    free = rank - len(before) - len(behind) if dots else 0
    return [*before, *(f".{place}" for place in range(free, 0, -1)), *behind]
