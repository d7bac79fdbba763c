"""Plots of reports, written without a display."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from matplotlib.axes import Axes
from matplotlib.figure import Figure

from snnconvert.files.atomic import write_atomically

COLOURS = {"call": "#8c8c8c", "trajectory": "#c43c39"}
WORDS = {"call": "reset at every call", "trajectory": "one continuous run"}


def plot_trajectory(content: dict[str, Any], path: str | Path) -> None:
    """Spikes and clock steps of each call against diffusion time, both resets, as PNG."""
    figure = Figure(figsize=(7.5, 5.2), layout="constrained")
    above, below = figure.subplots(2, 1, sharex=True)
    times = [row["t"] for row in content["calls"]]
    for name in content["total"]:
        for axes, key in ((above, "spikes"), (below, "clock_steps")):
            values = [row[name][key] for row in content["calls"]]
            axes.plot(times, values, ".-", color=COLOURS[name], label=WORDS[name])
    above.set_ylabel("spikes per image and call")
    above.set_ylim(bottom=0)
    below.set_ylabel("clock steps per call")
    below.set_ylim(bottom=0)
    below.set_xlabel("diffusion time t (sampling runs from right to left)")
    above.legend(frameon=False)
    above.set_title(f"{content['solver']}, {content['nfe']} network calls")
    for axes in (above, below):
        axes.spines[["top", "right"]].set_visible(False)
    write_atomically(path, lambda file: figure.savefig(file, format="png", dpi=110))


def plot_scale_search(content: dict[str, Any], path: str | Path) -> None:
    """FID against the scale of all firing thresholds, as PNG."""
    figure = Figure(figsize=(6.0, 3.4), layout="constrained")
    axes = figure.subplots()
    rows, best = content["rows"], content["best"]
    axes.plot([row["scale"] for row in rows], [row["fid"] for row in rows], ".-", color="#8c8c8c")
    axes.plot(best["scale"], best["fid"], "o", color="#c43c39", label=f"lowest: {best['scale']:g}")
    axes.axvline(1.0, color="#cccccc", linewidth=1, zorder=0)
    axes.set_xlabel("firing thresholds times")
    axes.set_ylabel(f"{content['metric']}, {content['samples']} images")
    axes.legend(frameon=False)
    axes.spines[["top", "right"]].set_visible(False)
    write_atomically(path, lambda file: figure.savefig(file, format="png", dpi=110))


def plot_sweep(content: dict[str, Any], path: str | Path) -> None:
    """Error against the number of timesteps, measured and predicted, as PNG; below it, what else
    was measured."""
    measures = content["float_ann"]
    figure = Figure(figsize=(6.0, 3.6 + 2.0 * len(measures)), layout="constrained")
    ratios = [3.6, *[2.0] * len(measures)]
    panels = figure.subplots(len(ratios), 1, sharex=True, squeeze=False, height_ratios=ratios)
    _draw_errors(panels[0, 0], content)
    measured = [row for row in content["rows"] if row["measured"]]
    for axes, (name, own) in zip(panels[1:, 0], measures.items(), strict=True):
        steps, values = ([row[key] for row in measured] for key in ("timesteps", name))
        axes.plot(steps, values, "o-", color="#1f6fb2")
        axes.axhline(own, color="#8c8c8c", linewidth=1, linestyle=":", label="float network")
        axes.set_ylabel(name)
        axes.legend(frameon=False)
    for axes in panels[:, 0]:
        axes.spines[["top", "right"]].set_visible(False)
    panels[-1, 0].set_xlabel("timesteps T")
    write_atomically(path, lambda file: figure.savefig(file, format="png", dpi=110))


def _draw_errors(axes: Axes, content: dict[str, Any]) -> None:
    rows = content["rows"]
    measured = [row for row in rows if row["measured"]]
    axes.plot([row["timesteps"] for row in rows], [row["relative_error_ann"] for row in rows],
              "--", color="#8c8c8c", label="predicted")  # fmt: skip
    axes.plot([row["timesteps"] for row in measured],
              [row["relative_error_ann"] for row in measured], "o", color="#1f6fb2",
              label="measured")  # fmt: skip
    chosen = next((r for r in rows if r["timesteps"] == content["recommended"]), None)
    if chosen is not None:
        axes.plot(chosen["timesteps"], chosen["relative_error_ann"], "o", color="#c43c39",
                  markersize=9, label=f"recommended: T = {chosen['timesteps']}")  # fmt: skip
    if content["wanted"] is not None:
        axes.axhline(content["wanted"], color="#cccccc", linewidth=1, zorder=0)
    axes.set_xscale("log", base=2)
    axes.set_yscale("log")
    axes.xaxis.set_major_formatter(lambda value, _: f"{value:g}")
    axes.set_ylabel("distance from the float network")
    axes.legend(frameon=False)
