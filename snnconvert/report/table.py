"""The report as a person reads it in a terminal."""

from __future__ import annotations

from typing import Any

from snnconvert.report.layers import PARTS


def format_report(content: dict[str, Any]) -> str:
    """Several lines: verdict, steps, layers, cost, time."""
    return "\n".join([*_verdict(content), "", *_layers(content["layers"]), "", *_figures(content)])


def _verdict(c: dict[str, Any]) -> list[str]:
    output, immediate = c["output"], c["immediate"]
    signed = "signed" if c["signed"] else "unsigned"
    kind = f"{c['firing']} firing" + (f", {signed} spikes" if c["firing"] == "immediate" else "")
    if output["bit_equal"]:
        loss = "nothing was lost: bit-equal to the quantised ANN"
    else:
        loss = f"relative error against the quantised ANN {output['relative_error']:.3g}"
    lines = [
        f"T = {c['timesteps']}, {kind}, norm {c['norm']}, {c['images']} inputs: {loss}",
        f"spike counts that differ {c['counts']['mismatched_fraction']:.3g}, "
        f"clock steps {c['latency_steps']}",
        f"immediate firing until silence: {immediate['steps_to_silence']} steps, "
        f"{immediate['spikes_per_count']:.2f} spikes per count, "
        + ("bit-equal" if immediate["bit_equal"] else "not bit-equal"),
    ]
    kinds = c.get("neurons")
    if kinds and kinds["function_fraction"]:
        lines.append(
            f"{kinds['plain_fraction']:.1%} of the neurons are plain integrate-and-fire, "
            f"{kinds['function_fraction']:.1%} apply a function to what has accumulated"
        )
    if c["output_ann"] is not None:
        lines.append(
            f"relative distance from the float ANN {c['output_ann']['relative_error']:.3g}"
        )
    if c["by_step"]:
        rows = c["by_step"] if len(c["by_step"]) <= 12 else [*c["by_step"][:3], *c["by_step"][-3:]]
        errors = "  ".join(f"{row['step']}: {row['relative_error']:.3g}" for row in rows)
        lines.append(f"error after step  {errors}")
    return lines


def _layers(layers: list[dict[str, Any]]) -> list[str]:
    width = max(len(layer["name"]) for layer in layers)
    columns = ("threshold", *PARTS, "rate", "silent", "saturated")
    lines = [" ".join([f"{'layer':{width}}", *(f"{column:>12}" for column in columns)])]
    for layer in layers:
        theta = layer["v_threshold"]
        shown = f"{theta:.4g}" if isinstance(theta, float) else f"{len(theta)} values"
        numbers = [layer[part] for part in PARTS]
        numbers += [layer["spike_rate"], layer["silent_fraction"], layer["saturated_fraction"]]
        cells = [f"{layer['name']:{width}}", f"{shown:>12}", *(f"{n:12.4f}" for n in numbers)]
        lines.append(" ".join(cells))
    return lines


def _figures(c: dict[str, Any]) -> list[str]:
    cost, timing = c["cost"], c["timing"]
    return [
        f"per image and call: {cost['macs'] / 1e6:.1f} M MACs, {cost['acs'] / 1e6:.1f} M ACs, "
        f"{cost['spike_driven_fraction']:.1%} of the ANN's MACs are spike-driven",
        f"energy (45 nm, arithmetic only): ANN {cost['energy_ann_mj']:.4f} mJ, quantised ANN "
        f"{cost['energy_qann_mj']:.4f} mJ, SNN {cost['energy_snn_mj']:.4f} mJ",
        f"time, as a multiple of the quantised ANN's call: one real step "
        f"{timing['step_s'] / timing['qann_s']:.2f}, one call by counts "
        f"{timing['counts_s'] / timing['qann_s']:.2f}",
    ]
