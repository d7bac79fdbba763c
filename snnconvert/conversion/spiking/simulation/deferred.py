"""Deferred firing: every neuron integrates for T steps and then fires for T steps."""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial

import torch
from torch import Tensor

from snnconvert.conversion.graph.program import Node
from snnconvert.conversion.spiking.simulation.depth import depths
from snnconvert.conversion.spiking.simulation.recorder import Call, Run, any_spike


def deferred(call: Call) -> Run:
    """In window w (T clock steps) the layers of depth w fire; what they reach integrates.

    A spike that comes early over a skip connection waits in its target. What T spikes mean, and
    in which order they come, is the cell's affair (`emit`).
    """
    depth = depths(call.executor)
    last = max((depth[node.name] for node in call.executor.neurons), default=0)
    counts: dict[str, Tensor] = {}
    trains: dict[str, Iterator[tuple[Tensor, int]]] = {}
    values, recorder, currents = call.values, call.recorder, call.executor.currents

    def neuron(window: int, within: int, node: Node, _fresh: bool) -> bool:
        name, cell = node.name, call.neurons[node.name]
        if window == 0:  # at rest: nothing has been emitted
            counts[name] = torch.zeros_like(values[currents[name]])
            values[name] = cell.value(counts[name])
            return True
        if depth[name] != window:
            recorder.rest(name, counts[name])
            return False
        if within == 1:
            trains[name] = cell.emit(values[currents[name]])
        spikes, weight = next(trains[name])
        counts[name].add_(spikes, alpha=weight)
        recorder.spikes(name, spikes, weight)
        values[name] = cell.value(counts[name])
        return any_spike(spikes)

    call.executor.step(values, partial(neuron, 0, 0))
    for window in range(1, last + 1):
        for within in range(1, call.timesteps + 1):
            call.executor.step(values, partial(neuron, window, within), changed=set())
            recorder.end_step(call.output)
        trains.clear()
    return call.end(call.timesteps * (last + 1), None, counts)  # the first T present the input
