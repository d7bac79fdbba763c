"""One pass over spike counts, without a clock."""

from __future__ import annotations

from torch import Tensor

from snnconvert.conversion.graph.program import Node
from snnconvert.conversion.spiking.simulation.recorder import Call, Run


def by_counts(call: Call, lean: bool = False) -> Run:
    """One pass in which every neuron emits its final count at once.

    Exact wherever the clocked network is known to end there: deferred firing, and immediate signed
    firing at silence.

    lean: only the output is wanted; memory does not hold every layer's values at once.
    """
    counts: dict[str, Tensor] = {}
    values, cells, currents = call.values, call.neurons, call.executor.currents
    reusing = call.executor.sole_readers

    def neuron(node: Node, _fresh: bool) -> bool:
        name = node.name
        cell, mean = cells[name], values[currents[name]]
        if lean:
            values[name] = cell.settled(mean, mean if name in reusing else None)
        else:
            counts[name] = cell.final(mean)
            values[name] = cell.value(counts[name])
        return True

    call.executor.step(values, neuron, drop=lean)
    return Run(call.output()) if lean else call.end(0, None, counts)
