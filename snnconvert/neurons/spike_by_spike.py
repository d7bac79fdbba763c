"""The plain neuron: potentials added up spike by spike, on spikingjelly's base class.

The count-held neurons of `counts.py` are checked against this one; it is not used to convert.
"""

from __future__ import annotations

from typing import Any

from spikingjelly.activation_based.neuron import SimpleBaseNode
from torch import Tensor

from snnconvert.neurons.counts import IF
from snnconvert.quantizer import along_channels


class ClippedIFNode(SimpleBaseNode):
    """Integrate-and-fire, soft reset, v_init = v_threshold / 2, counts kept in [lowest, T].

    Charge: v <- v + x. Fire: +1 where v >= v_threshold and count < T; where `signed`, -1 where
    v < 0 and count > lowest. Reset: v <- v - v_threshold * spike (Fast-SNN's signed neuron, with
    threshold 0 instead of -1e-3 for taking a spike back).
    """

    v: Any  # 0.0 until the first step after a reset, then a tensor
    count: Any

    def __init__(self, cell: IF, signed: bool) -> None:
        super().__init__(v_threshold=1.0, v_reset=None)
        self.cell = cell
        self.signed = signed or cell.lowest < 0
        self.register_memory("count", 0.0)

    def neuronal_charge(self, x: Tensor) -> None:
        if isinstance(self.v, float):  # first step after a reset: shapes are known only now
            self.v_threshold = along_channels(self.cell.v_threshold, x)
            self.v = self.v_threshold / 2
        self.v = self.v + x

    def neuronal_fire(self) -> Tensor:
        spike = ((self.v >= self.v_threshold) & (self.count < self.cell.timesteps)).to(self.v)
        if self.signed:
            spike = spike - ((self.v < 0) & (self.count > self.cell.lowest)).to(self.v)
        return spike

    def neuronal_reset(self, spike: Tensor) -> None:
        super().neuronal_reset(spike)
        self.count = self.count + spike

    def boundary_distance(self) -> Tensor:
        """|v - nearest firing boundary| / v_threshold, per neuron, of the charged potential."""
        level = self.v / self.v_threshold
        nearest = (level - 1).abs()
        return nearest.minimum(level.abs()) if self.signed else nearest
