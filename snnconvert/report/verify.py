"""A certificate: every spike count of a run is the quantiser's integer, or which are not."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import asdict, dataclass
from typing import Any

import torch
from torch import nn

from snnconvert.common.checks import checked_integer
from snnconvert.common.modes import evaluating
from snnconvert.conversion.spiking.network import SpikingNetwork, converted
from snnconvert.errors import InputError
from snnconvert.operators.clip import along_channels
from snnconvert.report.measures.clip_recorder import ClipRecorder
from snnconvert.report.measures.difference import Difference
from snnconvert.report.trials.calls import calls_in, first_of, quantised_and_float


@dataclass
class LayerVerdict:
    """Counts of one layer: how many, how many are further than the tolerance, and by how much.

    Attributes:
        first: (input, neuron) of the first that is; None where none is.
    """

    name: str
    neurons: int = 0
    mismatched: int = 0
    farthest: float = 0.0
    first: tuple[int, int] | None = None


@dataclass(frozen=True)
class Verification:
    """What `verify` found; true where every count is within the tolerance."""

    tolerance: int
    inputs: int
    clock_steps: int
    layers: tuple[LayerVerdict, ...]
    output: dict[str, Any]

    @property
    def neurons(self) -> int:
        """Counts that were compared."""
        return sum(layer.neurons for layer in self.layers)

    @property
    def mismatched(self) -> int:
        """Those beyond the tolerance."""
        return sum(layer.mismatched for layer in self.layers)

    @property
    def equal(self) -> bool:
        return self.mismatched == 0

    def __bool__(self) -> bool:
        return self.equal

    def to_dict(self) -> dict[str, Any]:
        """Stable keys, plain values."""
        return {
            "equal": self.equal, "tolerance": self.tolerance, "inputs": self.inputs,
            "clock_steps": self.clock_steps, "counts": self.neurons,
            "mismatched": self.mismatched,
            "mismatched_fraction": self.mismatched / max(self.neurons, 1),
            "output": self.output, "layers": [asdict(layer) for layer in self.layers],
        }  # fmt: skip


@torch.no_grad()
def verify(
    ann: nn.Module, snn: SpikingNetwork, batches: Iterable[Any], *, tolerance: int = 0
) -> Verification:
    """Run both networks and compare every spike count with the quantiser's integer.

    The clock of `snn` really runs, from counts that start at zero. What is proved is proved for
    these inputs, this machine and this batch size; where thresholds were calibrated, the quantised
    ANN is `snn.quantized_ann()`, so the calibration itself is not judged.

    Args:
        ann: what `snn` was converted from.
        batches: arguments of one call each, batch first.
        tolerance: spikes by which a count may differ.

    Raises:
        InputError: no inputs, inputs of another form, or `snn` was not converted from `ann`.
    """
    tolerance = checked_integer("tolerance", tolerance, 0)
    first, calls = first_of(calls_in(converted(snn).program, batches))
    with evaluating(ann):
        return _verified(ann, snn, first, calls, tolerance)


def _verified(
    ann: nn.Module, snn: SpikingNetwork, first: Any, calls: Iterable[Any], tolerance: int
) -> Verification:
    qann, _ = quantised_and_float(ann, snn, first, None)
    clocked = snn.with_config(simulate="steps", reset="call")
    layers = [LayerVerdict(name) for name in snn.neurons]
    output, inputs, steps = Difference(), 0, 0
    for args, kwargs in calls:
        recorder = ClipRecorder(snn.config.levels)
        with recorder:
            wanted = qann(*args, **kwargs)
        run = clocked.run(*args, **kwargs)
        output.add(run.output, wanted)
        if [c.x.shape for c in recorder.seen] != [n.shape for n in run.counts.values()]:
            raise InputError("verify: the spiking network was not converted from this ANN")
        for layer, clip, (name, counts) in zip(
            layers, recorder.seen, run.counts.items(), strict=True
        ):
            cell = run.neurons[name]
            top = along_channels(cell.ceiling, counts)
            gap = ((clip.q * (cell.levels / top)).round() - counts).abs()
            wrong = ~(gap <= tolerance)  # not-a-number is wrong
            if layer.first is None and bool(wrong.any()):
                row, neuron = wrong.flatten(1).nonzero()[0].tolist()
                layer.first = (inputs + row, neuron)
            layer.neurons += counts.numel()
            layer.mismatched += int(wrong.sum())
            layer.farthest = max(layer.farthest, float(gap.max()))
        steps = max(steps, run.steps)
        inputs += snn.program.batch_size(snn.program.bind(args, kwargs))
    return Verification(tolerance, inputs, steps, tuple(layers), output.to_dict())
