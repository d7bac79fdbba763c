"""The report as a person reads it in a terminal."""

from __future__ import annotations

import textwrap
from typing import Any

from snnconvert.common.words import counted
from snnconvert.report.examine import flat
from snnconvert.report.measures.layers import PARTS
from snnconvert.report.show.columns import columns
from snnconvert.report.trials.advice import NOTICED
from snnconvert.report.trials.sweep import Sweep

COLUMNS = 80
NAME = 22


def format_report(content: dict[str, Any]) -> str:
    """Several lines: verdict, steps, layers, cost, time."""
    said = [line for text in _verdict(content) for line in wrapped(text)]
    figures = [line for text in _figures(content) for line in wrapped(text)]
    return "\n".join([*said, "", *_layers(content["layers"]), "", *figures, *_advice(content)])


def _advice(c: dict[str, Any]) -> list[str]:
    """What helped when it was tried."""
    advice = c.get("advice") or {"tried": []}
    helped = [row for row in advice["tried"] if row["gain"] > NOTICED]
    if not helped:
        return []
    best = helped[0]
    return ["", *wrapped(
        f"would help: {best['words']} ({best['flags']}): {advice['before']:.3g} -> "
        f"{best['after']:.3g} from the float ANN, on {advice['inputs']} other inputs"
    )]  # fmt: skip


def _verdict(c: dict[str, Any]) -> list[str]:
    output, immediate = c["output"], c["immediate"]
    signed = "signed" if c["signed"] else "unsigned"
    kind = "" if c["tau"] is None else f"leaky neurons, tau {c['tau']:g}, "
    kind += "" if c["v_reset"] is None else "hard reset, "
    kind += f"v_init {c['v_init']}, " if c["v_init"] != 0.5 else ""
    kind += f"code {c['code']}, " if c["code"] != "rate" else ""
    kind += f"{c['firing']} firing" + (f", {signed} spikes" if c["firing"] == "immediate" else "")
    if output["bit_equal"]:
        loss = "nothing was lost: bit-equal to the quantised ANN"
        loss += ", part of which stays analog" if c.get("analog") else ""
    else:
        loss = f"relative error against the quantised ANN {output['relative_error']:.3g}"
    lines = [c["verdict"]] if "verdict" in c else []
    lines += [
        f"T = {c['timesteps']}, {kind}, norm {c['norm']}, {c['images']} inputs:",
        f"  {loss}",
        f"spike counts that differ {c['counts']['mismatched_fraction']:.3g}, "
        f"clock steps {c['latency_steps']}",
    ]
    if immediate is not None:
        mean = immediate["mean_steps"]
        average = "" if mean is None else f"{mean:.1f} on average, "
        lines.append(
            f"immediate firing until silence: {immediate['steps_to_silence']} steps, {average}"
            f"{immediate['spikes_per_count']:.2f} spikes per count, "
            + ("bit-equal" if immediate["bit_equal"] else "not bit-equal")
        )
    if c.get("analog"):
        lines.append(f"weights read as currents, without spikes: {_counted(c['analog'])}")
    kinds = c["neurons"]
    if kinds["function_fraction"]:
        lines.append(
            f"{kinds['plain_fraction']:.1%} of the neurons are plain integrate-and-fire, "
            f"{kinds['function_fraction']:.1%} apply a function to what has accumulated"
        )
    tabled = kinds.get("functions_of_time")
    if tabled:
        lines.append(
            f"{len(tabled)} activations that depend on the time alone stay functions, computed "
            "once a call"
        )
    told = ("function", "time alone")  # above
    lines += [r for r in c.get("remarks", []) if not any(words in r for words in told)]
    over_t = (c["calibration"] or {}).get("over_t")
    if over_t is not None:
        lines.append(
            f"thresholds over {over_t['argument']}: {over_t['rows']} rows, from "
            f"{min(over_t['inputs'])} calibration inputs or more each"
        )
    path = (c["calibration"] or {}).get("path")
    if path is not None and path["trials"]:
        lines.append(_path(path))
    if c["output_ann"] is not None:
        lines.append(_distance(c["output_ann"]))
    if c["by_step"]:
        rows = c["by_step"] if len(c["by_step"]) <= 12 else [*c["by_step"][:3], *c["by_step"][-3:]]
        errors = "  ".join(f"{row['step']}: {row['relative_error']:.3g}" for row in rows)
        lines.append(f"error after step  {errors}")
    return lines


def _distance(far: dict[str, Any]) -> str:
    """How far from the float network, of a denoiser as samplers see it."""
    said = f"relative distance from the float ANN {far['relative_error']:.3g}"
    unclipped = far.get("unclipped_error")
    return said if unclipped is None else f"{said} as samplers see it, else {unclipped:.3g}"


def _path(path: dict[str, Any]) -> str:
    """What calibration along a solver's path chose, and what became of the network's samples."""
    trials = {trial["reach"]: trial for trial in path["trials"]}
    lowest, found = trials[min(trials)], path.get("judged")
    said = (
        f"thresholds also fitted to {path['visited']} inputs on a solver's path: "
        f"reach {path['reach']:g}"
    )
    if found is None:
        return said
    said += (
        f", {found['escaped']} of {counted(found['samples'], 'sample')} escape "
        f"(else {lowest['escaped']})"
    )
    if found["escaped"] == found["samples"]:
        return said
    return f"{said}, error of the others {found['error']:.3g} (else {lowest['error']:.3g})"


def _counted(analog: list[dict[str, str]]) -> str:
    """ "3 softmax (a, b, c), 1 sin (d)": each operation with its first layers."""
    layers: dict[str, list[str]] = {}
    for row in analog:
        layers.setdefault(row["op"], []).append(row["layer"])
    return ", ".join(
        f"{len(names)} {op} ({', '.join(names[:3])}{', ...' if len(names) > 3 else ''})"
        for op, names in layers.items()
    )


def _layers(layers: list[dict[str, Any]]) -> list[str]:
    width = max(5, *(len(clipped(layer["name"], NAME)) for layer in layers))
    rows = [["layer", "threshold", "clip", "quant", "time", "prop", "rate", "silent", "full"]]
    for layer in layers:
        numbers = [layer[part] for part in PARTS]
        numbers += [layer["spike_rate"], layer["silent_fraction"], layer["saturated_fraction"]]
        shown = shown_threshold(layer["v_threshold"])
        rows.append([clipped(layer["name"], NAME), shown, *(f"{n:.3f}" for n in numbers)])
    return columns(f"<{width} >13" + " >5" * 5 + " >6 >5", rows)


def clipped(name: str, width: int) -> str:
    """A name in `width` columns: its end, where it is longer; control characters are visible."""
    name = "".join(c if c.isprintable() else "\N{REPLACEMENT CHARACTER}" for c in name)
    return name if len(name) <= width else f"…{name[1 - width :]}"


def shown_threshold(theta: Any) -> str:
    """A number, or the range of many."""
    values = flat(theta)
    low, high = f"{min(values):.3g}", f"{max(values):.3g}"
    return low if low == high else f"{low}..{high}"


def wrapped(text: str, hanging: str = "  ") -> list[str]:
    """A paragraph as lines that a terminal of 80 columns shows whole."""
    return textwrap.wrap(text, COLUMNS, subsequent_indent=hanging, break_long_words=False,
                         break_on_hyphens=False)  # fmt: skip


def format_sweep(found: Sweep) -> str:
    """A row for each number of timesteps that was measured, and the recommendation."""
    measured = [row for row in found.rows if row["measured"]]
    names = list(found.float_ann)
    rows = [("T", "levels", "from the float network", *names)]
    rows += [(str(row["timesteps"]), str(row["levels"]), f"{row['relative_error_ann']:.4g}",
              *(f"{row[name]:.4f}" for name in names)) for row in measured]  # fmt: skip
    if names:
        rows.append(("float", "", "", *(f"{value:.4f}" for value in found.float_ann.values())))
    lines = columns(">5 >7 >22" + " >9" * len(names), rows)
    lines.append(f"measured on {found.held_out} held-out inputs")
    if found.recommended is not None:
        lines.append(f"recommended: T = {found.recommended}, the smallest within {found.wanted:g}")
    elif found.wanted is not None:
        best = found.best
        lines.append(f"no T reaches {found.wanted:g}; the best is "
                     f"{best['relative_error_ann']:.4g} at T = {best['timesteps']}")  # fmt: skip
    return "\n".join(lines)


def _figures(c: dict[str, Any]) -> list[str]:
    cost, timing = c["cost"], c["timing"]
    times = f"one real step {timing['step_s'] / timing['qann_s']:.2f}"
    if timing["counts_s"] is not None:
        times += f", one call by counts {timing['counts_s'] / timing['qann_s']:.2f}"
    return [
        f"per image and call: {cost['macs'] / 1e6:.1f} M MACs, {cost['acs'] / 1e6:.1f} M ACs, "
        f"{cost['spike_driven_fraction']:.1%} of the ANN's MACs are spike-driven",
        f"energy (45 nm, arithmetic only): ANN {cost['energy_ann_mj']:.4f} mJ, quantised ANN "
        f"{cost['energy_qann_mj']:.4f} mJ, SNN {cost['energy_snn_mj']:.4f} mJ",
        f"time, as a multiple of the quantised ANN's call: {times}",
    ]


def format_trajectory(content: dict[str, Any]) -> str:
    """Several lines: verdict, then a row per reset."""
    worst = max(content["calls"], key=lambda row: row["eps_error"])
    equal = all(content["images_equal"].values())
    lines = [
        f"{content['solver']}, {counted(content['nfe'], 'call')}, "
        f"{counted(content['images'], 'image')}: "
        + ("equal to those of the quantised ANN, bit for bit" if equal else
           f"relative distance from the quantised ANN's {content['image_error']['call']:.3g}"),
        f"largest error of a prediction {worst['eps_error']:.3g} (t = {worst['t']:g})",
    ]  # fmt: skip
    names = {"call": "counts reset at every call", "trajectory": "one continuous run"}
    rows = [["per image", "clock steps", "spikes", "per count", "energy mJ"]]
    rows += [
        [names[reset], f"{total['clock_steps']:.0f}", f"{total['spikes']:.0f}",
         f"{total['spikes_per_count']:.2f}", f"{total['energy_mj']:.3f}"]
        for reset, total in content["total"].items()
    ]  # fmt: skip
    lines += columns("<28 >12 >12 >10 >10", rows)
    if "trajectory" in content["total"] and content["total"]["call"]["spikes"]:
        share = content["total"]["trajectory"]["spikes"] / content["total"]["call"]["spikes"]
        lines.append(f"the continuous run takes {share:.2f} of the spikes")
    return "\n".join(lines)
