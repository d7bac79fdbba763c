"""The potentials of neurons in a recorded run, by running its spikes through the network again.

A count n, the mean input m and the steps s that it was seen in tell the potential (see
`neurons/integrate_and_fire.py`). In units of the threshold, before the neuron fires,

    v = s * m / theta + v_init - n
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from functools import partial
from typing import Any

import torch
from torch import Tensor

from snnconvert.conversion.graph.program import Node
from snnconvert.conversion.spiking.network import SpikingNetwork
from snnconvert.conversion.spiking.simulation import Run, depths
from snnconvert.neurons.radix import digit_weights
from snnconvert.operators.clip import along_channels, v_init_over


def can_replay(network: SpikingNetwork) -> bool:
    """Whether counts tell all of the neurons' state, and the clock ran."""
    config = network.config
    return config.held_as_counts and config.norm == "accumulated" and config.simulate == "steps"


@torch.no_grad()
def potentials_of(
    network: SpikingNetwork, inputs: Sequence[Tensor], run: Run, wanted: Collection[str]
) -> dict[str, Tensor]:
    """Potentials over thresholds, [steps, B, ...] a layer, each before its neuron fires.

    Args:
        network: one that `can_replay`, with counts that start at zero.
        inputs: of the call that was recorded.
        run: `network.run(..., record="spikes")`.
        wanted: names of neuron layers.
    """
    config, executor, names = network.config, network.executor, network.names
    late = config.firing == "deferred"
    values = executor.start(network.constants, inputs)
    cells, depth = network.cells(values), depths(executor)
    weights = digit_weights(config.levels) if config.code == "radix" else [1] * config.timesteps
    counts: dict[str, Tensor] = {}
    found: dict[str, list[Tensor]] = {name: [] for name in wanted}

    def neuron(step: int, node: Node, _fresh: bool) -> bool:
        name, cell = node.name, cells[node.name]
        mean = values[executor.currents[name]]
        seen = config.levels if late else min(step + 1, config.timesteps)
        n = counts.get(name, torch.zeros_like(mean))
        if step >= 0:
            if names[name] in found:
                found[names[name]].append(potential(cell, mean, n, seen))
            fires_now = late and depth[name] == step // config.timesteps + 1
            weight = weights[step % config.timesteps] if fires_now else 1
            n = n + weight * run.trains[names[name]][step].to(mean.dtype)
        counts[name] = n
        values[name] = cell.value(n, seen)
        return True

    first = -1 if late else 0  # -1: deferred neurons at rest, before the first window
    for step in range(first, longest(run.trains)):
        executor.step(values, partial(neuron, step))
    return {name: torch.stack(rows) for name, rows in found.items()}


def longest(trains: Mapping[str, Tensor]) -> int:
    """Recorded clock steps."""
    return max((len(train) for train in trains.values()), default=0)


def potential(cell: Any, mean: Tensor, counts: Tensor, seen: int) -> Tensor:
    """In thresholds; of a deferred neuron in units of one level."""
    theta = along_channels(cell.v_threshold, mean)
    result: Tensor = mean * (seen / theta) + v_init_over(cell.v_init, mean) - counts
    return result
