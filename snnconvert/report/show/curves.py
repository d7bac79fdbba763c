"""The figures of a report that are curves and bars, as SVG."""

from __future__ import annotations

from typing import Any

from markupsafe import Markup
from matplotlib.axes import Axes
from matplotlib.ticker import FuncFormatter, MaxNLocator, NullFormatter

from snnconvert.report.show.themed import (
    C1,
    C2,
    C3,
    INK,
    MUTED,
    new_figure,
    svg_of,
)

MOST_MARKS = 2000  # of a figure
COLOURS = {"float": MUTED, "quantised": C2, "SNN": C1}
PER_CENT = FuncFormatter(lambda value, _: f"{100 * value:g} %")


def step_figure(content: dict[str, Any]) -> Markup | None:
    """Error against the quantised ANN, and spikes, over the clock steps of a call."""
    rows = thinned(content["by_step"])
    if len(rows) < 2:
        return None
    figure, (above, below) = new_figure(5.2, 3.3, rows=2, height_ratios=(2, 1))
    steps = [row["step"] for row in rows]
    errors = [row["relative_error"] for row in rows]
    above.plot(steps, errors, "o-", color=C1, markersize=4)
    above.set_ylabel("error")
    above.yaxis.set_major_formatter(PER_CENT)
    above.set_ylim(bottom=0)
    below.bar(steps, [row["spikes"] for row in rows], color=C2, width=0.7)
    below.set_ylabel("spikes")
    below.yaxis.set_major_formatter(FuncFormatter(lambda value, _: short(value)))
    below.set_xlabel("clock step")
    for axes in (above, below):
        axes.axvline(content["timesteps"] + 0.5, color=MUTED, linewidth=0.8, linestyle=":")
        axes.set_xlim(steps[0] - 0.6, steps[-1] + 0.6)
        axes.grid(axis="x", visible=False)
        axes.xaxis.set_major_locator(MaxNLocator(integer=True))
    above.text(content["timesteps"] + 0.6, 0.98, "input ends", color=MUTED, fontsize=8, va="top",
               transform=above.get_xaxis_transform())  # fmt: skip
    return svg_of(figure, "Error and spikes after each clock step", "step-")


def timesteps_figure(content: dict[str, Any]) -> Markup | None:
    """Error against the float network over the number of timesteps."""
    rows, chosen = content.get("by_timesteps"), content["timesteps"]
    if not rows:
        return None
    figure, (axes,) = new_figure(5.2, 3.3)
    axes.plot([row["timesteps"] for row in rows], [row["relative_error_ann"] for row in rows],
              "o-", color=C2, markersize=4, label="measured")  # fmt: skip
    here = next((row for row in rows if row["timesteps"] == chosen), None)
    if here is not None:
        axes.plot([here["timesteps"]], [here["relative_error_ann"]], "o", color=C1, markersize=8,
                  label=f"T = {chosen}: {100 * here['relative_error_ann']:.3g} %")  # fmt: skip
        axes.legend(labelcolor=INK)
    axes.set_xscale("log", base=2)
    positive = all(row["relative_error_ann"] > 0 for row in rows)
    axes.set_yscale("log" if positive else "linear")
    axes.xaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}"))
    axes.yaxis.set_major_formatter(PER_CENT)
    axes.yaxis.set_minor_formatter(NullFormatter())
    if positive:
        low = min(row["relative_error_ann"] for row in rows)
        high = max(row["relative_error_ann"] for row in rows)
        ticks = [t for t in (0.001, 0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1.0, 2.0, 5.0)
                 if low / 1.6 <= t <= high * 1.6]  # fmt: skip
        if ticks:
            axes.set_yticks(ticks)
    axes.set_xlabel("timesteps T")
    axes.set_ylabel("distance from the float network")
    return svg_of(figure, "Distance from the float network over timesteps", "timesteps-")


def time_figure(content: dict[str, Any]) -> Markup | None:
    """Error over the diffusion time."""
    rows = content.get("by_time")
    if not rows:
        return None
    figure, (axes,) = new_figure(5.2, 3.3)
    middle = [(row["t_low"] + row["t_high"]) / 2 for row in rows]
    if rows[0]["relative_error_ann"] is not None:
        axes.plot(middle, [row["relative_error_ann"] for row in rows], "o-", color=C2,
                  markersize=4, label="from the float network")  # fmt: skip
    axes.plot(middle, [row["relative_error"] for row in rows], "o-", color=C1, markersize=4,
              label="from the quantised ANN")  # fmt: skip
    axes.set_ylim(bottom=0)
    axes.yaxis.set_major_formatter(PER_CENT)
    axes.set_xlabel("diffusion time t")
    axes.set_ylabel("error of the prediction")
    axes.legend(labelcolor=INK)
    return svg_of(figure, "Error of the prediction over the diffusion time", "time-")


def drawn_figure(content: dict[str, Any]) -> Markup | None:
    """High-frequency noise and brightness of drawn images over the number of evaluations."""
    rows = content.get("drawn")
    if not rows:
        return None
    figure, panels = new_figure(7.6, 3.0, columns=2)
    names = with_equals(rows)
    solvers = list(dict.fromkeys(row["solver"] for row in rows))
    for axes, key in zip(panels, ("noise", "brightness"), strict=True):
        for style, solver in zip(("-", "--", ":"), solvers, strict=False):
            for name, words in names.items():
                some = [row for row in rows if row["solver"] == solver]
                axes.plot([row["nfe"] for row in some], [row[key][name] for row in some],
                          f"o{style}", color=COLOURS.get(name, C3), markersize=3.5,
                          label=f"{words}, {solver}")  # fmt: skip
        axes.set_xlabel("network evaluations")
        axes.set_xticks(sorted({row["nfe"] for row in rows}))
    panels[0].set_ylabel("high-frequency noise")
    panels[1].set_ylabel("mean of the images")
    handles, labels = panels[0].get_legend_handles_labels()
    figure.legend(handles, labels, loc="outside upper center", ncols=2, labelcolor=INK, fontsize=8)
    return svg_of(figure, "Noise and brightness of drawn images", "drawn-")


def with_equals(rows: list[dict[str, Any]]) -> dict[str, str]:
    """Networks that drew something of their own, each with those that drew the same: "a = b"."""
    found: dict[str, str] = {}
    for name in rows[0]["noise"]:
        same = next(
            (
                other
                for other in found
                if all(row["noise"][name] == row["noise"][other] for row in rows)
            ),
            None,
        )
        found[same or name] = f"{found[same]} = {name}" if same else name
    return found


def energy_figure(content: dict[str, Any]) -> Markup:
    """Energy of one input and call of the three networks."""
    cost = content["cost"]
    bars = [("ANN", cost["energy_ann_mj"], MUTED), ("quantised ANN", cost["energy_qann_mj"], C2),
            ("SNN", cost["energy_snn_mj"], C1)]  # fmt: skip
    figure, (axes,) = new_figure(5.2, 1.7)
    axes.barh([name for name, _, _ in bars], [value for _, value, _ in bars],
              color=[colour for _, _, colour in bars], height=0.6)  # fmt: skip
    widest = max(value for _, value, _ in bars) or 1.0
    for place, (_, value, _) in enumerate(bars):
        axes.text(
            value + 0.01 * widest, place, f"{value:.3g} mJ", va="center", fontsize=9, color=INK
        )
    axes.set_xlim(0, 1.22 * widest)
    axes.invert_yaxis()
    axes.grid(axis="y", visible=False)
    axes.spines["left"].set_visible(False)
    axes.tick_params(left=False)
    axes.set_xlabel("energy of one input and call, mJ (45 nm, arithmetic only)")
    return svg_of(figure, "Energy of one input and call", "energy-")


def thinned(rows: list[dict[str, Any]], most: int = 200) -> list[dict[str, Any]]:
    """At most so many of them, evenly spread, the last among them."""
    if len(rows) <= most:
        return rows
    return [rows[round(i * (len(rows) - 1) / (most - 1))] for i in range(most)]


def short(value: float) -> str:
    """12000 as 12k."""
    for unit, size in (("M", 1e6), ("k", 1e3)):
        if abs(value) >= size:
            return f"{value / size:g}{unit}"
    return f"{value:g}"


def quiet(axes: Axes) -> None:
    """Without a grid."""
    axes.grid(visible=False)
