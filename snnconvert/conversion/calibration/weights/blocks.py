"""Blocks of any captured network: runs of operations that one tensor leaves, found in the graph.

A cut lies where a single value carries all that is needed later, so that a residual block is never
cut through its middle. Connections over more than `LONG` activations (U-Net skips, an embedding
of the time that every layer reads) do not stand in the way of a cut; their values are kept.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator
from dataclasses import dataclass
from itertools import pairwise

from snnconvert.conversion.graph.nodes import Clip, Lookup
from snnconvert.conversion.graph.program import Node, Program, Ref
from snnconvert.conversion.rules import has_weights, rule_of
from snnconvert.conversion.rules.layer_names import layer_names, plain_name

LONG = 4  # activations that a connection inside one block may pass by


@dataclass(frozen=True)
class Block:
    """Operations between two cuts.

    Attributes:
        names: of its operations.
        targets: its values that later blocks read or that the network returns.
        layer: what its last target is called.
    """

    names: frozenset[str]
    targets: tuple[str, ...]
    layer: str

    def part_of(self, program: Program, constants: Collection[str]) -> Program:
        """This block of `program` as a program: reads earlier values, returns its targets."""
        nodes = tuple(node for node in program.nodes if node.name in self.names)
        outside = dict.fromkeys(name for node in nodes for name in node.refs)
        inputs = tuple(n for n in outside if n not in self.names and n not in constants)
        return Program(inputs, nodes, [Ref(name) for name in self.targets])


def find_blocks(program: Program) -> list[Block]:
    """The blocks of a quantised network in execution order; together they are the network."""
    ends = [*cuts(program), len(program.nodes)]
    readers, called = program.readers(), layer_names(program)
    blocks = []
    for start, end in pairwise([0, *ends]):
        nodes = program.nodes[start:end]
        names = frozenset(node.name for node in nodes)
        targets = [
            node for node in nodes
            if node.name in program.output_names
            or any(reader.name not in names for reader in readers.get(node.name, ()))
        ]  # fmt: skip
        layer = called.get(targets[-1].name) or plain_name(targets[-1])
        blocks.append(Block(names, tuple(node.name for node in targets), layer))
    return blocks


def cuts(program: Program) -> list[int]:
    """Positions between nodes where to cut: behind neurons where possible, once per weights."""
    found: list[int] = []
    group: list[int] = []  # candidates with no weights between them: only one is used
    narrow = _narrow(program)
    rounded = {Clip.of(node).input.name for node in program.nodes if Clip.found(node)}
    clips = 0  # since the last cut
    for position, node in enumerate(program.nodes):
        if has_weights(node):
            found += _chosen(program, group)
            clips = 0 if group else clips
            group = []
        clips += Clip.found(node)
        if clips and position in narrow and node.name not in rounded:
            group.append(position)
    return [position + 1 for position in found]


def _chosen(program: Program, group: list[int]) -> list[int]:
    neurons = [position for position in group if Clip.found(program.nodes[position])]
    return neurons[-1:] or group[:1]


def _narrow(program: Program) -> set[int]:
    """Positions behind which only the value computed there is needed, long connections apart."""
    position = {node.name: i for i, node in enumerate(program.nodes)}
    position |= dict.fromkeys(program.inputs, -1)
    passed = [0]  # clips before each position
    for node in program.nodes:
        passed.append(passed[-1] + Clip.found(node))
    alive_until: dict[str, int] = {}
    for name, reader in _connections(program):
        if name in position and passed[position[reader.name]] - passed[position[name] + 1] <= LONG:
            alive_until[name] = max(alive_until.get(name, -1), position[reader.name])
    alive = [0] * (len(program.nodes) + 1)
    for name, last in alive_until.items():
        for place in range(max(0, position[name]), last):
            alive[place] += 1
    return {i for i, node in enumerate(program.nodes) if alive[i] == 1 and node.name in alive_until}


def _connections(program: Program) -> Iterator[tuple[str, Node]]:
    """What each operation reads; batch sizes, and t in look-ups of thresholds, do not count."""
    sizes = {n.name for n in program.nodes if (rule := rule_of(n.op)) is not None and rule.number}
    for node in program.nodes:
        if node.name not in sizes and not Lookup.found(node):
            yield from ((name, node) for name in node.refs if name not in sizes)
