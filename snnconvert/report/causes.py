"""How far a spiking network is from its float network, and which cause in which layer it comes of.

Three networks lie between the two: the float one with activations that only clip, the quantised
ANN, and the spiking one. The squares of the distances from one to the next are the shares of
clipping, quantisation and timing. What one layer costs the output is told by leaving its quantiser
out and all others in.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import nn

from snnconvert.conversion.spiking.network import SpikingNetwork
from snnconvert.report.measures.as_seen import AsSeen
from snnconvert.report.measures.difference import Difference
from snnconvert.report.measures.what_if import FINE, WhatIf
from snnconvert.report.trials.calls import Call

SUSPECTS = 24  # layers whose cost is measured
WORST = 3  # of them are reported


def own_error(layer: dict[str, Any]) -> float:
    """What a layer adds itself, whatever its inputs carried; relative RMS."""
    squares = (layer[part] ** 2 for part in ("clipping", "quantisation", "temporal"))
    result: float = sum(squares) ** 0.5
    return result


def main_cause(layer: dict[str, Any]) -> str:
    """The largest of a layer's own error terms."""
    return max(("clipping", "quantisation", "temporal"), key=lambda part: float(layer[part]))


@torch.no_grad()
def causes_of(
    qann: nn.Module,
    snn: SpikingNetwork,
    float_ann: nn.Module | None,
    calls: Sequence[Call],
    layers: Sequence[dict[str, Any]],
) -> dict[str, Any]:
    """Shares of the causes, and the layers that cost the output most.

    Args:
        qann: quantised ANN of `snn`.
        float_ann: None where there is none; then only timing is told.
        calls: a few inputs.
        layers: of the report.

    Returns:
        `distance` (of the spiking network from the float one, relative), `shares` of clipping,
        quantisation and timing (they sum to 1; None without a float network or a distance) and
        `worst`, a row a layer: its `layer` and `number`, own error, main cause, and
        `without`: the distance of the quantised ANN if that layer alone were exact.
    """
    levels = snn.config.levels
    suspects = sorted(range(len(layers)), key=lambda i: -own_error(layers[i]))[:SUSPECTS]
    steps = {part: Difference() for part in ("clipping", "quantisation", "timing")}
    whole, plain = Difference(), Difference()
    without = {number: Difference() for number in suspects}
    seen = AsSeen(snn)
    for args, kwargs in calls:

        def quantised(levels: int, *exact: int, call: Call = (args, kwargs)) -> Any:
            with WhatIf(levels, exact):
                return seen(*call, qann(*call[0], **call[1]))

        rounded, spiking = quantised(levels), seen(args, kwargs, snn(*args, **kwargs))
        steps["timing"].add(spiking, rounded)
        if float_ann is None:
            continue
        exact, clipped = seen(args, kwargs, float_ann(*args, **kwargs)), quantised(FINE)
        steps["clipping"].add(clipped, exact)
        steps["quantisation"].add(rounded, clipped)
        whole.add(spiking, exact)
        plain.add(rounded, exact)
        for number in suspects:
            without[number].add(quantised(levels, number), exact)
    total = sum(step.square for step in steps.values())
    known = float_ann is not None and total > 0
    shares = {part: step.square / total for part, step in steps.items()} if known else None
    rows = [
        {"layer": layers[n]["name"], "number": n, "own_error": own_error(layers[n]),
         "cause": main_cause(layers[n]),
         "without": without[n].relative_error if float_ann is not None else None}
        for n in suspects if own_error(layers[n]) > 0
    ]  # fmt: skip
    rows.sort(key=lambda row: row["without"] if row["without"] is not None else -row["own_error"])
    return {
        "distance": whole.relative_error if float_ann is not None else None,
        "quantised_distance": plain.relative_error if float_ann is not None else None,
        "shares": shares, "worst": rows[:WORST],
    }  # fmt: skip
