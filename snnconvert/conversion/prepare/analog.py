"""What weights of a converted network read as currents although it is no sum of spikes."""

from __future__ import annotations

from snnconvert.conversion.graph.nodes import Neuron
from snnconvert.conversion.graph.program import Node, Program
from snnconvert.conversion.rules import has_weights, is_commuting, rule_of


def analog_operations(program: Program) -> list[Node]:
    """The operations that do not commute with the mean and whose results weights read unspiked.

    Norms, attention, products of two signals, and functions that no neurons follow. What a neuron
    reads, what the output alone reads, and max pooling of spikes are none.
    """
    neurons = {node.name for node in program.nodes if Neuron.found(node)}
    moving = program.downstream_of(neurons)
    by_name = {node.name: node for node in program.nodes}
    found: set[str] = set()
    seen: set[str] = set()
    weighted = [node for node in program.nodes if node.name in moving and has_weights(node)]
    ends = [name for node in weighted for name in node.refs]
    while ends:
        name = ends.pop()
        node = by_name.get(name)
        if node is None or name in seen or name not in moving or name in neurons:
            continue
        seen.add(name)
        rule = rule_of(node.op)
        reads = [ref for ref in node.refs if ref in moving]
        if is_commuting(node, reads) or (rule is not None and rule.passes):
            ends += [] if has_weights(node) else reads
        else:
            found.add(name)
    return [node for node in program.nodes if node.name in found]
