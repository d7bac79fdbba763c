"""Matplotlib figures as SVG that takes its colours from the page it lies in, light or dark.

Figures are drawn in the colours of `INKS`, each of which stands for a CSS variable.
"""

from __future__ import annotations

import io
import re
from typing import Any

from markupsafe import Markup, escape
from matplotlib import rc_context
from matplotlib.axes import Axes
from matplotlib.figure import Figure

INKS = {
    "#010101": "ink", "#020202": "muted", "#030303": "line", "#040404": "paper",
    "#0a0a01": "c1", "#0a0a02": "c2", "#0a0a03": "c3", "#0a0a04": "c4", "#0a0a05": "accent",
}  # fmt: skip
INK, MUTED, LINE, PAPER, C1, C2, C3, C4, ACCENT = INKS
STYLE: Any = {
    "svg.fonttype": "none", "svg.hashsalt": "snnconvert", "font.size": 9.0,
    "text.color": INK, "axes.labelcolor": MUTED, "axes.edgecolor": LINE, "xtick.color": MUTED,
    "ytick.color": MUTED, "axes.spines.top": False, "axes.spines.right": False,
    "grid.color": LINE, "axes.grid": True, "axes.axisbelow": True, "grid.linewidth": 0.6,
    "figure.facecolor": "none", "axes.facecolor": "none", "legend.frameon": False,
    "savefig.facecolor": "none", "lines.linewidth": 1.8, "text.parse_math": False,
}  # fmt: skip


def new_figure(
    width: float, height: float, rows: int = 1, columns: int = 1, **options: object
) -> tuple[Figure, list[Axes]]:
    """An empty figure in inches, and its axes row by row; drawn under `STYLE`.

    Args:
        options: of the grid; margins (`left`, ...) spare fitting them, half of the time.
    """
    with rc_context(STYLE):
        figure = Figure(
            figsize=(width, height), layout=None if "left" in options else "constrained"
        )
        axes = figure.subplots(rows, columns, squeeze=False, gridspec_kw=options or None)
    return figure, list(axes.flat)


def svg_of(figure: Figure, title: str, prefix: str) -> Markup:
    """`figure` as an SVG element.

    Args:
        title: what it shows, for those who do not see it.
        prefix: of its ids, another for each figure of a page.
    """
    for legend in [*figure.legends, *filter(None, (axes.get_legend() for axes in figure.axes))]:
        legend.set_frame_on(False)
    file = io.StringIO()
    with rc_context(STYLE):
        figure.savefig(file, format="svg", metadata={"Date": None, "Creator": None})
    text = file.getvalue()
    text = text[text.index("<svg") :]
    text = re.sub(r"<metadata>.*?</metadata>", "", text, flags=re.DOTALL)
    used = set(re.findall(r"(?:url\(#|href=\"#)([^)\"]+)", text))
    text = re.sub(r' id="([^"]+)"', lambda m: f' id="{prefix}{m[1]}"' if m[1] in used else "", text)
    text = re.sub(r"(url\(#|href=\"#)", rf"\g<1>{prefix}", text)
    for colour, name in INKS.items():
        text = text.replace(colour, f"var(--{name})")
    text = re.sub(r"font-family: [^;\"]*;? ?", "", text)  # once in the page's style
    text = re.sub(r"<!--.*?-->\n?", "", text, flags=re.DOTALL)
    text = re.sub(r"<[^>]+>", rounded, text)
    text = re.sub(r"\n\s*", "\n", text)
    size = re.search(r'<svg[^>]*?viewBox="0 0 ([\d.]+) ([\d.]+)"', text)
    box = f"0 0 {size[1]} {size[2]}" if size else "0 0 100 100"
    width = float(size[1]) if size else 100.0
    inner = text[text.index(">", text.index("<svg")) + 1 :]
    head = (
        f'<svg class="figure" viewBox="{box}" style="max-width:{width * 1.333:.0f}px" role="img" '
        f'aria-label="{escape(title)}" xmlns="http://www.w3.org/2000/svg" '
        'xmlns:xlink="http://www.w3.org/1999/xlink">'
    )
    return Markup(head + inner)


def rounded(tag: re.Match[str]) -> str:
    """A tag with coordinates to a hundredth of a point, which is enough."""
    return re.sub(r"(-?\d+\.\d{2})\d+", r"\1", tag[0])
