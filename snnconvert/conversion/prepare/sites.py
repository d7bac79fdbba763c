"""Where neurons go: the activations of a program, and what each becomes.

A quantised clip is a neuron wherever it stands. Another activation becomes one where weights lie
before it (else it is arithmetic on the input, computed once) and weights read its result (else it
is read-out, applied to the accumulated potential). A function such as SiLU is followed by neurons
only where its result reaches weights through operations that pass spikes on. As a gate (SwiGLU,
GEGLU, tanh times sigmoid) it stays a function, and the neurons follow the product, unless the
network was trained with quantised clips of its own.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass, replace

from torch import Tensor

from snnconvert.conversion.graph.nodes import Clip
from snnconvert.conversion.graph.program import Node, Program, Ref
from snnconvert.conversion.prepare.answers import answers
from snnconvert.conversion.prepare.scalar_functions import (
    PROBES,
    ScalarFunctions,
    is_pointwise,
)
from snnconvert.conversion.rules import (
    Activation,
    converts,
    has_weights,
    is_commuting,
    rule_of,
)
from snnconvert.conversion.rules.layer_names import layer_names

GATED = Activation(replaces=False, signed=True)


@dataclass(frozen=True)
class Site:
    """One activation that becomes a layer of neurons.

    Attributes:
        node: the activation, or the product of a value and its gate (GLU is one operation).
        activation: what its rule says; None for a quantised clip, which has all it needs.
        axis: the axis of its channels, counted from the front; None where unknown.
        layer: what the layer of neurons is called, see `layer_names`.
        reads: name of what it is a function of, where that is not the first that `node` reads.
    """

    node: Node
    activation: Activation | None
    axis: int | None = 1
    layer: str = ""
    reads: str | None = None

    @property
    def function(self) -> str | None:
        """Name of the function before the neurons, None where the neurons are the activation."""
        if self.activation is None or self.activation.replaces:
            return None
        return self.node.op.split(".")[1]

    @property
    def source(self) -> str | None:
        """Name of what the activation reads; None for a product, which reads two."""
        if self.reads is not None:
            return self.reads
        first = self.node.args[0]
        return first.name if isinstance(first, Ref) and gate_of(self.node) != "product" else None

    @property
    def signed(self) -> bool:
        """Whether spikes of both signs are needed."""
        if self.activation is None:
            return Clip.of(self.node).signed
        return self.activation.signed

    @property
    def needs_ceiling(self) -> bool:
        return self.activation is not None and self.activation.ceiling is None


def find_sites(
    program: Program, constants: Mapping[str, Tensor], spiking_time: bool = False
) -> list[Site]:
    """The sites of `program` in execution order. Operations without a rule are passed over.

    What depends on the diffusion time alone is a table over it, computed once a call: its
    activations stay functions, unless `spiking_time`. Clips that were trained are neurons anyway.

    A gate that is never negative (sigmoid) scales, as in squeeze and excitation, and brings no
    neurons, except where there would be none at all.
    """
    search = _Search(program, constants, set() if spiking_time else program.of_time_alone)
    if any(Clip.found(node) for node in program.nodes):
        found = _sites(search, constants, ())
    else:
        found = _sites(search, constants, (True,)) or _sites(search, constants, (True, False))
    names = layer_names(program, [site.node for site in found])
    return [replace(site, layer=names[site.node.name]) for site in found]


def _sites(
    search: _Search, constants: Mapping[str, Tensor], gate_signs: tuple[bool, ...]
) -> list[Site]:
    """`gate_signs`: of the functions behind whose products there are neurons."""
    found: list[Site] = []
    for node in search.program.nodes:
        rule = rule_of(node.op)
        if Clip.found(node):
            found.append(Site(node, None))
        elif rule is not None and rule.activation is not None and search.fires(node):
            activation = rule.activation(node, constants)
            if activation is not None and search.wanted(node, activation):
                found.append(Site(node, activation, channel_axis(node, search.by_name)))
        elif search.gated(node, constants, gate_signs, found):
            found.append(Site(node, GATED, channel_axis(node, search.by_name)))
        elif gate_signs:  # else trained with clips of its own
            site = search.curved(node, constants, found)
            found += [] if site is None else [site]
    return found


class _Search:
    def __init__(
        self, program: Program, constants: Mapping[str, Tensor], skipped: Collection[str]
    ) -> None:
        self.program = program
        self.skipped = skipped
        self.answers = answers(program, constants)
        self.readers = program.readers()
        self.by_name = {node.name: node for node in program.nodes}
        weighted = {node.name for node in program.nodes if has_weights(node)}
        self.after_weights = program.downstream_of(weighted)
        self.before_weights: set[str] = set()  # values that weights read, however indirectly
        for node in reversed(program.nodes):
            if node.name in weighted or node.name in self.before_weights:
                self.before_weights.update(node.refs)

    def driven(self, node: Node) -> bool:
        reached = any(name in self.after_weights for name in node.refs)
        return reached and node.name not in self.skipped

    def fires(self, node: Node) -> bool:
        """Whether `node` may be an activation by itself: on real numbers."""
        return self.driven(node) and not self.answers.issuperset(node.refs)

    def wanted(self, node: Node, activation: Activation) -> bool:
        if activation.always:
            return True
        if activation.replaces:
            return node.name in self.before_weights
        return self._reaches_weights(node.name, set())

    def gated(
        self, node: Node, constants: Mapping[str, Tensor], signs: tuple[bool, ...],
        found: Collection[Site],
    ) -> bool:  # fmt: skip
        """Whether `node` is a GLU, or a product of a value and a function of one of `signs`.

        Both depend on weights, and the function has no neurons of its own (none among `found`).
        """
        driven = gate_of(node) is not None and self.after_weights.issuperset(node.refs)
        driven = driven and node.name not in self.skipped
        if not signs or not driven or not self._reaches_weights(node.name, set()):
            return False
        if gate_of(node) == "halves":
            return True
        sites = {site.node.name for site in found}
        origins = [self._origin(name) for name in node.refs] if len(node.refs) == 2 else []
        free = [origin for origin in origins if origin and origin.name not in sites]
        gates = [function_at(origin, constants) for origin in free]
        return any(gate is not None and gate.signed in signs for gate in gates) or (
            True in signs and any(gate_of(origin) == "halves" for origin in free)
        )

    def curved(
        self, node: Node, constants: Mapping[str, Tensor], found: Collection[Site]
    ) -> Site | None:
        """`node` as the end of any other function of one value that reaches weights.

        None where it is none, or has neurons (among `found`) inside.
        """
        guard = "clamp" in node.op or node.op == "aten.nan_to_num.default"
        if guard or not is_pointwise(node) or not self.driven(node) or node.name in self.answers:
            return None
        driven = [name for name in node.refs if name in self.after_weights]
        if is_commuting(node, driven) and not self._is_answer(node.refs[0]):
            return None
        if not self._reaches_weights(node.name, set()):
            return None
        sites = {site.node.name for site in found}
        for function in ScalarFunctions(self.program, constants).ending_in(node):
            inner = {each.name for each in function.nodes}
            if function.source in self.after_weights and inner.isdisjoint(sites):
                values = function.at(PROBES)
                if values is not None:
                    activation = Activation(False, signed=bool((values < 0).any()))
                    axis = channel_axis(node, self.by_name)
                    return Site(node, activation, axis, reads=function.source)
        return None

    def _is_answer(self, name: str) -> bool:
        """Whether each element is one, so that what makes a number of it is its function."""
        made = self.by_name.get(name)
        return name in self.answers and made is not None and is_pointwise(made)

    def _origin(self, name: str) -> Node | None:
        """The operation that made a value, before others only moved it."""
        node = self.by_name.get(name)
        while node is not None and node.refs:
            rule = rule_of(node.op)
            if rule is None or not rule.moves:
                return node
            node = self.by_name.get(node.refs[0])
        return node

    def _reaches_weights(self, name: str, seen: set[str]) -> bool:
        for reader in self.readers.get(name, ()):
            if reader.name in seen or not converts(reader.op):
                continue
            seen.add(reader.name)
            if has_weights(reader):
                return True
            if self._passes(reader, name) and self._reaches_weights(reader.name, seen):
                return True
        return False

    def _passes(self, reader: Node, name: str) -> bool:
        """Whether `reader` hands on the spikes of `name`; scaling by a fixed tensor does."""
        rule = rule_of(reader.op)
        if rule is not None and (rule.passes or rule.kind == "linear"):
            return True
        return is_commuting(reader, [name]) and not any(
            other in self.after_weights for other in reader.refs if other != name
        )


def channel_axis(node: Node, by_name: Mapping[str, Node]) -> int | None:
    """Axis of the channels: 1 behind convolutions, -1 behind linear layers, None if unknown."""
    current: Node | None = node
    while current is not None and current.refs:
        rule = rule_of(current.op)
        if rule is None or not rule.converts:
            return None
        if rule.channel_axis is not None:
            return rule.channel_axis
        if not rule.follows:
            return None
        if rule.gate == "product":
            factors = (by_name[name] for name in current.refs if name in by_name)
            axes = (channel_axis(factor, by_name) for factor in factors)
            return next((axis for axis in axes if axis is not None), None)
        current = by_name.get(current.refs[0])
    return None


def gate_of(node: Node) -> str | None:
    """Where the gate of `node` is, as its rule says it: "product", "halves" or None."""
    rule = rule_of(node.op)
    return rule.gate if rule is not None else None


def function_at(node: Node | None, constants: Mapping[str, Tensor]) -> Activation | None:
    """What the rule of `node` says if it is a function such as SiLU, None otherwise."""
    rule = rule_of(node.op) if node else None
    made = rule.activation(node, constants) if node and rule and rule.activation else None
    return None if made is None or made.replaces else made
