"""Operations on single steps: as spikingjelly's networks run, and the published SDM conversion."""

from __future__ import annotations

from typing import Any

from torch import Tensor

from snnconvert.conversion.graph.program import Node
from snnconvert.conversion.graph.values import substitute
from snnconvert.conversion.spiking.simulation.recorder import Call, Run
from snnconvert.neurons.potential import Potential, PotentialNode


def per_step(call: Call, signed: bool) -> Run:
    """Norms and all else see the current of each single step.

    Potentials are added up step by step, the output is the mean over the steps. The error does
    not vanish with T.
    """
    nodes = {n: PotentialNode(c, signed) for n, c in call.neurons.items()
             if isinstance(c, Potential)}  # fmt: skip
    values, timesteps, recorder = call.values, call.timesteps, call.recorder
    currents = call.executor.currents
    charge: dict[str, Tensor] = {}  # sum of the input currents
    counts: dict[str, Tensor] = {}

    def neuron(node: Node, _fresh: bool) -> bool:
        name, cell = node.name, call.neurons[node.name]
        current = values[currents[name]]
        charge[name] = charge[name] + current if name in charge else current
        n = counts.get(name, current.new_zeros(()))
        if name in nodes:
            spikes = nodes[name](current)
        else:
            target = cell.target(charge[name] / timesteps, timesteps)
            spikes = cell.spikes(n, target, signed)
        counts[name] = n + spikes
        recorder.spikes(name, spikes)
        values[name] = cell.value(spikes, 1)
        return True

    total: dict[str, Tensor] = {}
    for step in range(1, timesteps + 1):
        call.executor.step(values, neuron)
        for name in call.executor.program.output_names:
            total[name] = total[name] + values[name] if step > 1 else values[name]

        def mean(steps: int = step) -> Any:
            output = call.executor.program.output
            return substitute(output, lambda ref: total[ref.name] / steps)

        recorder.end_step(mean)
    inputs = {name: value / timesteps for name, value in charge.items()}
    return recorder.finish(Run(mean(), timesteps, None, counts, inputs))
