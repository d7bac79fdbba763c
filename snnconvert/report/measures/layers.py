"""The error of each neuron layer, split by cause.

For a layer that replaces the activation f (ReLU; the identity where it is signed), with a the
quantised ANN's input, a' the spiking network's accumulated input, n its counts of L levels:

    clipping      |f(a) - clip(a)|          values above the ceiling
    quantisation  |clip(a) - q(a)|          a few levels instead of a continuum
    propagated    |q(a) - q(a')|            what its inputs already carried
    temporal      |q(a') - n * theta / L|   spikes that came too early, too late or not at all

as root mean squares over |f(a)|'s. Their sum bounds the layer's whole error (triangle inequality).
"""

from __future__ import annotations

from collections import defaultdict
from typing import Any

from torch import Tensor

from snnconvert.conversion.spiking.neuron_nodes import Cell
from snnconvert.operators.clip import along_channels, from_counts, to_counts
from snnconvert.report.measures.activity import LayerActivity
from snnconvert.report.measures.clip_recorder import ClipCall

PARTS = ("clipping", "quantisation", "temporal", "propagated")


class LayerErrors:
    """Accumulates the statistics of one neuron layer over batches.

    Args:
        name: the user's module path.
        neuron: kind of neuron.
        cell: its threshold (where it depends on t, the table of them) and number of levels.
        timesteps: T, in which it fires.
        function: applied to the accumulated potential before the neurons; None for plain ones.
    """

    def __init__(
        self,
        name: str,
        neuron: str,
        cell: Cell,
        timesteps: int,
        function: str | None = None,
    ) -> None:
        self.name, self.neuron, self.cell, self.timesteps = name, neuron, cell, timesteps
        self.function = function
        self.squares: dict[str, float] = defaultdict(float)
        self.sums: dict[str, float] = defaultdict(float)
        self.activity = LayerActivity(cell.levels, cell.lowest)
        self.farthest = 0.0  # largest distance of a count from the quantiser's

    def add(
        self, cell: Cell, clip: ClipCall, seen: Tensor, counts: Tensor, emitted: Tensor
    ) -> None:
        """One batch.

        Args:
            cell: the neurons in this call; where thresholds depend on t, with those of its t.
            clip: the quantiser in the quantised ANN.
            seen: a', the accumulated mean input of the neurons.
            counts, emitted: signed count and number of spikes of either sign per neuron.
        """
        a, q = clip.x, clip.q
        theta, levels, low = cell.ceiling, cell.levels, cell.lowest
        top = along_channels(theta, a)
        exact = a if low < 0 else a.relu()
        clipped = exact.minimum(top).maximum(top * (low / levels))
        wanted_counts = to_counts(seen, theta, levels, low, levels, clip.v_init)
        quantised_seen = from_counts(wanted_counts, theta, levels)
        emitted_value = cell.value(counts)
        differences = {
            "exact": exact,
            "clipping": exact - clipped,
            "quantisation": clipped - q,
            "propagated": q - quantised_seen,
            "temporal": quantised_seen - emitted_value,
            "total": exact - emitted_value,
            "threshold": top.expand_as(a),
        }
        for key, value in differences.items():
            self.squares[key] += value.double().square().sum().item()
        wanted = (q * (levels / top)).round()
        self.farthest = max(self.farthest, (wanted - counts).abs().max().item())
        self.activity.add(a, theta, counts, emitted)
        sums = {
            "neurons": counts.numel(),
            "mismatched": (wanted != counts).sum().item(),
            "spikes": emitted.double().sum().item(),
            "counts": counts.double().abs().sum().item(),
            "silent": (emitted == 0).sum().item(),
            "saturated": (counts.abs() == levels).sum().item(),
        }
        for name, number in sums.items():
            self.sums[name] += number

    def relative_rms(self, part: str) -> float:
        """RMS of a part over the RMS of f(a); over the threshold where f(a) is zero everywhere."""
        scale = self.squares["exact"] or self.squares["threshold"]
        result: float = (self.squares[part] / scale) ** 0.5
        return result

    @property
    def adds_up(self) -> bool:
        """Whether the whole error is within the sum of its parts, as it must be."""
        return self.relative_rms("total") <= sum(map(self.relative_rms, PARTS)) * (1 + 1e-6) + 1e-12

    def to_dict(self) -> dict[str, Any]:
        theta, neurons = self.cell.v_threshold, self.sums["neurons"]
        return {
            "name": self.name,
            "neuron": self.neuron,
            "function": self.function,
            "v_threshold": theta.squeeze().tolist(),
            "levels": self.cell.levels,
            **{part: self.relative_rms(part) for part in (*PARTS, "total")},
            "mismatched_fraction": self.sums["mismatched"] / neurons,
            "spike_rate": self.sums["spikes"] / neurons / self.timesteps,
            "silent_fraction": self.sums["silent"] / neurons,
            "saturated_fraction": self.sums["saturated"] / neurons,
            "neurons": neurons,
            "activity": self.activity.to_dict(),
        }
