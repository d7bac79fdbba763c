"""One pass over spike counts, without a clock."""

from __future__ import annotations

from torch import Tensor

from snnconvert.conversion.program import Node
from snnconvert.conversion.simulation.recorder import Call, Run


def by_counts(call: Call) -> Run:
    """One pass in which every neuron emits its final count at once.

    Exact wherever the clocked network is known to end there: deferred firing, and immediate signed
    firing at silence.
    """
    counts: dict[str, Tensor] = {}
    values = call.values

    def neuron(node: Node, _fresh: bool) -> bool:
        cell = call.neurons[node.name]
        n = cell.final(values[node.args[0].name])
        counts[node.name] = n
        values[node.name] = cell.value(n)
        return True

    call.executor.step(values, neuron)
    return call.end(0, None, counts)
