"""What a call costs, counted from real spikes.

An operation whose input is spikes costs one accumulation (AC) per spike and synapse; so does one
behind a max pool, for the largest of several counts moves by spikes as they do. One whose input is
a current costs multiply-accumulates (MAC): once a call if it depends on no spike or fires deferred,
in every clock step otherwise. Padding counts as synapses in both, as is usual.

45 nm, Horowitz 2014: 4.6 pJ a 32-bit floating-point MAC, 0.9 pJ an addition. The quantised ANN has
the same few-bit activations: where spikes would go in, its MAC is charged as bit-serial additions,
one a bit, and never more than a full MAC. Memory traffic and neuron updates are not charged.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import astuple, dataclass
from typing import Any

import torch
from torch import Tensor

from snnconvert.conversion.rules import macs_of, rule_of
from snnconvert.conversion.spiking import simulation
from snnconvert.conversion.spiking.network import SpikingNetwork

PJ_PER_MAC = 4.6
PJ_PER_AC = 0.9
MJ_PER_PJ = 1e-9


@dataclass
class Cost:
    """Operations of one call and image.

    Attributes:
        macs, acs: of the spiking network.
        ann_macs: of the ANN.
        spike_driven_macs: those of `ann_macs` whose input is spikes in the spiking network.
    """

    macs: float = 0.0
    acs: float = 0.0
    ann_macs: float = 0.0
    spike_driven_macs: float = 0.0

    def mixed(self, other: Cost, share: float) -> Cost:
        """A mean in which `other` weighs `share` (0 ... 1) and this cost the rest."""
        pairs = zip(astuple(self), astuple(other), strict=True)
        return Cost(*(old + share * (new - old) for old, new in pairs))

    def to_dict(self, levels: int) -> dict[str, float]:
        """Stable keys of the report; energies in mJ per image and call."""
        analog = self.ann_macs - self.spike_driven_macs
        quantised = min(PJ_PER_MAC, levels.bit_length() * PJ_PER_AC)
        picojoules = {
            "energy_ann_mj": self.ann_macs * PJ_PER_MAC,
            "energy_qann_mj": analog * PJ_PER_MAC + self.spike_driven_macs * quantised,
            "energy_snn_mj": self.macs * PJ_PER_MAC + self.acs * PJ_PER_AC,
        }
        return {
            "macs": self.macs,
            "acs": self.acs,
            "ann_macs": self.ann_macs,
            "spike_driven_fraction": self.spike_driven_macs / self.ann_macs if self.ann_macs else 0,
            **{key: value * MJ_PER_PJ for key, value in picojoules.items()},
        }


@torch.no_grad()
def count_cost(network: SpikingNetwork, inputs: Sequence[Tensor], run: simulation.Run) -> Cost:
    """Cost of a recorded call.

    Args:
        inputs: of that call.
        run: what `network.run(*inputs, record=...)` gave.
    """
    executor = network.executor
    values = executor.start(network.constants, inputs)
    simulation.by_counts(
        simulation.Call(
            executor,
            values,
            network.cells(values),
            network.config.timesteps,
            simulation.Recorder(executor, None),
        )
    )  # every shape
    images = network.program.batch_size(inputs)
    repeats = 1 if network.config.firing == "deferred" else run.steps
    spikes: dict[str, Any] = {
        node: run.emitted[name] for node, name in network.names.items() if name in run.emitted
    }
    spikes.update(run.relayed)
    cost = Cost()
    dynamic = [(node, call) for node, call, _ in executor.dynamic if call is not None]
    for node, call in (*executor.static, *dynamic):
        rule = rule_of(node.op)
        moving = [name for name in node.refs if name in executor.dynamic_names]
        driven = bool(moving) and all(name in spikes for name in moving)
        tensors = [name for name in node.refs if isinstance(values[name], Tensor)]
        read = [name for name in node.refs if isinstance(values[name], (Tensor, list, tuple))]
        if rule is None:
            continue
        if rule.hands_on and driven and len(moving) == len(read):
            handed = call({**values, **spikes})
            spikes[node.name] = handed.abs() if rule.turns else handed
        shapes = [values[name].shape for name in tensors]
        found = macs_of(node, shapes, getattr(values[node.name], "shape", ()))
        if found is None:
            continue
        macs = found / images
        cost.ann_macs += macs
        if driven and len(moving) == 1:
            cost.spike_driven_macs += macs
            cost.acs += macs * spikes[moving[0]].double().mean().item()
        else:
            cost.macs += macs * (repeats if moving else 1)
    return cost
