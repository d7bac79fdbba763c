"""The plain neuron: potentials added up spike by spike, on spikingjelly's base class.

The count-held neurons of `integrate_and_fire.py` and `radix.py` are checked against this one; it
is not used to convert.
"""

from __future__ import annotations

from typing import Any

from spikingjelly.activation_based.neuron import SimpleBaseNode
from torch import Tensor

from snnconvert.neurons.integrate_and_fire import IF
from snnconvert.operators.clip import along_channels


class ClippedIFNode(SimpleBaseNode):
    """Integrate-and-fire, soft reset, counts kept in [lowest, levels].

    A spike in a step of weight w carries w * v_threshold; the smallest weight is `unit` (rate
    code: all weights 1; radix code: 2^(T-1-k) / levels, unit = 1 / levels).
    It starts at v = v_init * unit * v_threshold (v_init: the cell's, usually 1/2).
    Charge: v <- v + x. Fire: +1 where v >= w * v_threshold and count < levels; where `signed`, -1
    where v < (unit - w) * v_threshold and count > lowest. Reset: v <- v - w * v_threshold * spike.
    (Under the rate code that is Fast-SNN's signed neuron, with threshold 0 instead of -1e-3 for
    taking a spike back.)
    """

    v: Any  # 0.0 until the first step after a reset, then a tensor
    count: Any

    def __init__(self, cell: IF, signed: bool, unit: float = 1.0) -> None:
        super().__init__(v_threshold=1.0, v_reset=None)
        self.cell = cell
        self.signed = signed or cell.lowest < 0
        self.unit = unit
        self.register_memory("count", 0.0)

    def neuronal_charge(self, x: Tensor) -> None:
        if isinstance(self.v, float):  # first step after a reset: shapes are known only now
            self.v_threshold = along_channels(self.cell.v_threshold, x)
            v_init = self.cell.v_init
            v_init = along_channels(v_init, x) if isinstance(v_init, Tensor) else v_init
            self.v = self.v_threshold * (self.unit * v_init)
        self.v = self.v + x

    def neuronal_fire(self, weight: float = 1.0) -> Tensor:
        level = self.v / self.v_threshold
        spike: Tensor = ((level >= weight) & (self.count < self.cell.levels)).to(self.v)
        if self.signed:
            taken_back = (level < self.unit - weight) & (self.count > self.cell.lowest)
            spike = spike - taken_back.to(self.v)
        return spike

    def neuronal_reset(self, spike: Tensor) -> None:
        """`spike`: in {-1, 0, 1} times the weight of the step."""
        super().neuronal_reset(spike)
        self.count = self.count + spike / self.unit

    def boundary_distance(self, weight: float = 1.0) -> Tensor:
        """|v - nearest firing boundary| / v_threshold, per neuron, of the charged potential."""
        level = self.v / self.v_threshold
        nearest: Tensor = (level - weight).abs()
        return nearest.minimum((level - self.unit + weight).abs()) if self.signed else nearest
