"""Neurons whose state is their potential: with a leak or a hard reset.

Neither can be told from a count, so they run on the currents of single steps and add
potentials up, on spikingjelly's base class with the dynamics of its `IFNode` and `LIFNode`
(`decay_input=False`), thresholds per layer or per channel.

A spike carries `gain`, which for a perfect integrator is the threshold. For a leaky one threshold,
gain and a bias current that stands against the leak are fitted to the layer's own inputs
(`conversion/calibration/leak_compensation.py`). Under deferred firing a neuron first collects the
mean of its input, without a leak, and is then driven by that mean for T steps: a membrane that
leaks while it waits would forget what came early over a skip connection.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import torch
from spikingjelly.activation_based.neuron import SimpleBaseNode
from torch import Tensor

from snnconvert.operators.clip import along_channels, check_counts, from_counts


@dataclass(frozen=True)
class Potential:
    """Neurons of one layer, driven step by step.

    Attributes:
        ceiling: [] or [C], of the activation they replace.
        v_threshold, gain, bias: [] or [C]; what a spike subtracts, what it carries, and the
            current that is added in every step in which the input is presented.
        levels: T, the largest count.
        lowest: smallest count: 0, or -T where the activation is signed (perfect integrators only).
        tau: membrane time constant in steps, above 1; None for no leak.
        v_reset: None subtracts the threshold after a spike (soft), 0.0 sets v to it (hard).
        v_init: start of v, in thresholds.
    """

    ceiling: Tensor
    v_threshold: Tensor
    gain: Tensor
    bias: Tensor
    levels: int
    lowest: int = 0
    tau: float | None = None
    v_reset: float | None = None
    v_init: float = 0.5

    def value(self, counts: Tensor, steps: int | None = None) -> Tensor:
        """The mean current that `counts` spikes in `steps` steps (default T) are."""
        return from_counts(counts, self.gain, self.levels if steps is None else steps)

    def emit(self, mean: Tensor) -> Iterator[tuple[Tensor, int]]:
        """(spikes, weight of each) in T steps of the constant current `mean`."""
        node = PotentialNode(self, signed=False)
        for _ in range(self.levels):
            yield node(mean), 1

    def final(self, mean: Tensor) -> Tensor:
        """Number of spikes in T steps of the constant current `mean`."""
        counts = torch.zeros_like(mean)
        for spikes, _ in self.emit(mean):
            counts.add_(spikes)
        return counts

    def settled(self, mean: Tensor, out: Tensor | None = None) -> Tensor:
        """The mean current of a whole call with mean input `mean`; `out` is left alone."""
        return self.value(self.final(mean))


class PotentialNode(SimpleBaseNode):
    """The neuron that a `Potential` describes.

    Charge: v <- (1 - 1 / tau) * v + x. Fire: +1 where v >= v_threshold; with `signed`, while the
    count is below T, and -1 where v < 0 and the count is above its lowest. Reset: as v_reset says.

    Attributes:
        presented: whether the input is, and with it the bias current.
    """

    v: Any  # 0.0 until the first step, then a tensor
    count: Any

    def __init__(self, cell: Potential, signed: bool) -> None:
        super().__init__(v_threshold=1.0, v_reset=cell.v_reset)
        self.cell = cell
        self.signed = signed or cell.lowest < 0
        self.presented = True
        self.register_memory("count", 0.0)

    def neuronal_charge(self, x: Tensor) -> None:
        if isinstance(self.v, float):  # first step: shapes are known only now
            check_counts(self.cell.levels, x.dtype)
            self.v_threshold = along_channels(self.cell.v_threshold, x).to(x.dtype)
            self.bias = along_channels(self.cell.bias, x).to(x.dtype)
            self.v = (self.v_threshold * self.cell.v_init).expand_as(x)
        kept = 1.0 if self.cell.tau is None else 1 - 1 / self.cell.tau
        self.v = torch.add(x, self.v, alpha=kept)
        if self.presented:
            self.v = self.v.add_(self.bias)

    def neuronal_fire(self) -> Tensor:
        spike: Tensor = (self.v >= self.v_threshold).to(self.v.dtype)
        if not self.signed:
            return spike
        spike = spike * (self.count < self.cell.levels)
        taken_back: Tensor = ((self.v < 0) & (self.count > self.cell.lowest)).to(spike)
        return spike - taken_back

    def neuronal_reset(self, spike: Tensor) -> None:
        super().neuronal_reset(spike)
        if self.signed:
            self.count = self.count + spike
