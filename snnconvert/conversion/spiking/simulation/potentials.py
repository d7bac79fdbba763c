"""Immediate firing of neurons whose state is their potential."""

from __future__ import annotations

from torch import Tensor

from snnconvert.conversion.graph.program import Node
from snnconvert.conversion.spiking.simulation.recorder import Call, Run, any_spike
from snnconvert.neurons.potential import PotentialNode


def potentials(call: Call, settle: int, signed: bool) -> Run:
    """T steps with the input, then `settle` input-free steps.

    Between neurons every value is the mean so far, as in `immediate`; with s = min(step, T), the
    current of a single step is what s * mean has grown by since the step before. That is the very
    current of a step-by-step simulation, telescoping differences of norms included.
    """
    nodes = {name: PotentialNode(cell, signed) for name, cell in call.neurons.items()}
    received: dict[str, Tensor] = {}  # s * mean input so far
    counts: dict[str, Tensor] = {}
    values, timesteps, currents = call.values, call.timesteps, call.executor.currents
    step = 0

    def neuron(node: Node, _fresh: bool) -> bool:
        name, seen = node.name, min(step, timesteps)
        total = values[currents[name]] * seen
        current = total - received[name] if name in received else total
        received[name] = total
        nodes[name].presented = step <= timesteps
        spikes = nodes[name](current)
        counts[name] = counts[name] + spikes if name in counts else spikes
        call.recorder.spikes(name, spikes)
        if step > timesteps and not any_spike(spikes):
            return False
        values[name] = call.neurons[name].value(counts[name], seen)
        return True

    for step in range(1, timesteps + settle + 1):
        call.executor.step(values, neuron, changed=set() if step > timesteps else None)
        call.recorder.end_step(call.output)
    return call.end(timesteps + settle, None, counts)
