"""The figures of a report that show neurons: counts by activation, spikes, potentials."""

from __future__ import annotations

from typing import Any

import numpy as np
from markupsafe import Markup
from matplotlib.colors import LinearSegmentedColormap
from matplotlib.ticker import NullFormatter

from snnconvert.report.show.curves import MOST_MARKS, PER_CENT, quiet
from snnconvert.report.show.themed import C1, C2, C3, C4, INK, MUTED, new_figure, svg_of

MARGINS: dict[str, Any] = {"left": 0.15, "right": 0.98, "bottom": 0.13, "top": 0.98, "hspace": 0.1}
# One colour that is seen on white and on black, the rarer the more transparent.
DENSITY = LinearSegmentedColormap.from_list(
    "density", [(0.16, 0.5, 0.82, 0.0), (0.16, 0.5, 0.82, 0.35), (0.16, 0.5, 0.82, 1.0)]
)


def activity_figure(layer: dict[str, Any], number: int) -> Markup:
    """Counts against activations of a layer, all values binned, and how often each comes."""
    found = layer["activity"]
    table = np.asarray(found["table"], dtype=float)  # [activation, count]
    edges = np.linspace(found["low"], found["high"], found["bins"] + 1)
    levels, lowest = found["levels"], found["lowest"]
    figure, (above, below) = new_figure(4.6, 3.4, rows=2, height_ratios=(1, 2.4), **MARGINS)
    total = table.sum() or 1.0
    above.stairs(table.sum(1) / total, edges, fill=True, color=C2, alpha=0.8)
    above.set_yscale("log")
    above.yaxis.set_major_formatter(PER_CENT)
    above.yaxis.set_minor_formatter(NullFormatter())
    above.set_ylabel("share")
    above.tick_params(labelbottom=False)
    half = (levels - lowest + 1) / found["rows"] / 2
    extent = (found["low"], found["high"], lowest - 0.5, levels + 2 * half - 0.5)
    image = np.log1p(table.T)
    below.imshow(image / (image.max() or 1.0), cmap=DENSITY, origin="lower", aspect="auto",
                 extent=extent, interpolation="nearest")  # fmt: skip
    x = np.linspace(found["low"], found["high"], 600)
    ideal = np.clip(x * levels, lowest, levels)
    below.plot(x, ideal, color=MUTED, linewidth=1, linestyle="--", label="activation, clipped")
    below.set_ylim(extent[2], extent[3])
    below.set_xlabel("activation / threshold")
    below.set_ylabel("spike count")
    below.legend(labelcolor=INK, fontsize=8, loc="upper left")
    for axes in (above, below):
        axes.axvline(1, color=C1, linewidth=1.2)
        axes.set_xlim(found["low"], found["high"])
        quiet(axes)
    return svg_of(figure, "Spike counts against activations, and how often each comes",
                  f"activity{number}-")  # fmt: skip


def example_figure(row: dict[str, Any], number: int) -> Markup:
    """Spikes of some neurons of a layer over the clock, and the potentials of a few."""
    potentials = row["potentials"]
    figure, panels = new_figure(5.2, 4.0 if potentials else 2.4, rows=2 if potentials else 1)
    raster = panels[0]
    for sign, colour, label in ((1, C2, "spike"), (-1, C1, "taken back")):
        marks = [(s[1], s[0]) for s in row["spikes"][: MOST_MARKS // 2] if np.sign(s[2]) == sign]
        if marks:
            x, y = np.asarray(marks, dtype=float).T
            gaps = np.full_like(x, np.nan)
            raster.plot(np.stack([x, x, gaps], 1).ravel(), np.stack([y - 0.4, y + 0.4, gaps],
                        1).ravel(), color=colour, linewidth=2, label=label)  # fmt: skip
    raster.set_ylabel("neuron")
    raster.set_yticks([])
    raster.set_ylim(-1, len(row["neurons"]))
    if potentials:
        trace = panels[1]
        raster.tick_params(labelbottom=False)
        steps = np.arange(1, row["steps"] + 1)
        for colour, name, values in zip((C2, C3, C4), row["traced"], potentials, strict=False):
            trace.plot(steps, values, "o-", color=colour, markersize=3, linewidth=1.3,
                       label=f"neuron {name}")  # fmt: skip
        trace.axhline(1, color=C1, linewidth=1, linestyle="--")
        trace.axhline(0, color=MUTED, linewidth=0.8)
        low = min(min(values) for values in potentials)
        high = max(max(values) for values in potentials)
        trace.set_ylim(max(low, -4) - 0.3, min(high, 6) + 0.5)
        trace.set_ylabel("v / threshold")
        trace.legend(
            labelcolor=INK, fontsize=8, ncols=3, loc="lower right", bbox_to_anchor=(1, 0.98)
        )
    panels[-1].set_xlabel("clock step")
    for axes in panels:
        axes.axvline(row["timesteps"] + 0.5, color=MUTED, linewidth=0.8, linestyle=":")
        axes.set_xlim(0.4, row["steps"] + 0.6)
        quiet(axes)
    if raster.get_legend_handles_labels()[0]:
        raster.legend(
            labelcolor=INK, fontsize=8, ncols=2, loc="lower right", bbox_to_anchor=(1, 0.98)
        )
    return svg_of(figure, "Spikes and potentials of some neurons for one input",
                  f"example{number}-")  # fmt: skip
