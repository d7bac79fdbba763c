"""The graph of a network laid out: rows in execution order, columns by resolution."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

ROW, COLUMN = 24, 22
LEFT, TOP = 74, 14
SHADES = 7  # classes of error, e0 ... e6


@dataclass(frozen=True)
class Vertex:
    """Where a vertex is and what it says."""

    x: float
    y: float
    kind: str
    label: str
    layer: str
    error: float | None
    shade: int


@dataclass(frozen=True)
class Picture:
    """A graph as shapes: edges are SVG paths, and whether each passes vertices by."""

    width: float
    height: float
    vertices: list[Vertex]
    edges: list[tuple[str, bool]]


def laid_out(graph: Mapping[str, Any], errors: Mapping[str, float]) -> Picture:
    """The picture of a graph of `report.network_graph`.

    Args:
        errors: of the neuron layers, by name; a module has the largest of those inside.
    """
    worst = max(errors.values(), default=0.0) or 1.0
    vertices = []
    for row, v in enumerate(graph["vertices"]):
        inside = v.get("layers") or ([v["layer"]] if v["kind"] == "neurons" else [])
        error = max((errors[name] for name in inside if name in errors), default=None)
        shade = 0 if error is None else min(SHADES - 1, int(SHADES * error / worst))
        vertices.append(Vertex(
            LEFT + COLUMN * v["column"], TOP + ROW * row, v["kind"], v["label"], v["layer"], error,
            shade,
        ))  # fmt: skip
    edges = [_edge(vertices[a], vertices[b], b - a) for a, b in graph["edges"]]
    widest = max((v.x + 14 + 6.4 * min(len(v.label), 34) for v in vertices), default=0.0)
    return Picture(widest + 70, TOP * 2 + ROW * (len(vertices) - 1), vertices, edges)


def _edge(a: Vertex, b: Vertex, rows: int) -> tuple[str, bool]:
    """A line to the next row, or a bow to the left around what lies between."""
    if rows == 1:
        middle = (a.y + b.y) / 2
        return f"M{a.x} {a.y}C{a.x} {middle} {b.x} {middle} {b.x} {b.y}", False
    bow = min(a.x, b.x) - min(64.0, 12 + 3.2 * abs(rows))
    return f"M{a.x} {a.y}C{bow} {a.y + ROW} {bow} {b.y - ROW} {b.x} {b.y}", True
