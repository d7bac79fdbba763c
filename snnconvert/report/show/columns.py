"""A table as lines of a terminal."""

from __future__ import annotations

from collections.abc import Iterable, Sequence


def columns(layout: str, rows: Iterable[Sequence[str]], gap: str = " ") -> list[str]:
    """One line a row.

    Args:
        layout: alignment and width of each column, such as "<28 >12 >8"; a longer cell moves the
            rest of its line.
        rows: of the same number of cells, the header first.
        gap: between two columns.
    """
    widths = layout.split()
    return [
        gap.join(f"{cell:{width}}" for cell, width in zip(row, widths, strict=True)) for row in rows
    ]
