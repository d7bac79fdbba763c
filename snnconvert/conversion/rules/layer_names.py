"""What a layer of neurons is called, wherever it is named: in reports, warnings and trains.

The path of the user's module, or, where an activation was called outside of any, the name of the
operation. Where one module (`self.relu`) or one block's code makes several layers, each is numbered
in order of execution and says what it follows: `relu#2 (after conv2)`.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping

from snnconvert.conversion.graph.nodes import Clip, Neuron
from snnconvert.conversion.graph.program import Node, Program
from snnconvert.conversion.rules import has_weights, rule_of


def layer_names(program: Program, activations: Iterable[Node] | None = None) -> dict[str, str]:
    """A name for each layer, by the name of its node; no two are alike.

    An activation has the same name before and after it was replaced by a clip or by neurons.

    Args:
        activations: those that become neurons; None: the clips and neurons of `program`.
    """
    if activations is None:
        activations = (n for n in program.nodes if Neuron.found(n) or Clip.found(n))
    chosen = {node.name for node in activations}
    named = chosen | {node.name for node in functions_of_time(program, chosen)}
    nodes = [node for node in program.nodes if node.name in named]
    alike = Counter(map(plain_name, nodes))
    places = {node.name: (position, node) for position, node in enumerate(program.nodes)}
    numbers: dict[str, int] = defaultdict(int)
    taken = {plain for plain, times in alike.items() if times == 1}
    found: dict[str, str] = {}
    for node in nodes:
        plain = plain_name(node)
        if alike[plain] == 1:
            found[node.name] = plain
            continue
        numbers[plain] += 1
        follows = weights_before(node, places)
        after = f" (after {follows})" if follows else ""
        name = f"{plain}#{numbers[plain]}{after}"
        while name in taken:  # a module of the user's may be called so
            name += "'"
        found[node.name] = name
    return found


def plain_name(node: Node) -> str:
    """What the user would call the place of `node`: not necessarily unique."""
    return node.layer or node.name


def weights_before(node: Node, places: Mapping[str, tuple[int, Node]]) -> str | None:
    """The user's module with weights that `node` follows: of the nearest ones the last to run.

    places: (position, node) by the node's name.
    """
    waiting, seen = [*node.refs], set()
    nearest: list[tuple[int, str]] = []
    while waiting:
        name = waiting.pop()
        if name in seen or name not in places:
            continue
        seen.add(name)
        position, made = places[name]
        if has_weights(made) and made.layer:
            nearest.append((position, made.layer))
        else:
            waiting += made.refs
    return max(nearest)[1] if nearest else None


def functions_of_time(program: Program, activations: Iterable[str]) -> list[Node]:
    """Activations that stay functions: a table over the time.

    activations: names of those that do not, for neurons replace or follow them.
    """
    spiking = set(activations)
    spiking |= {name for node in program.nodes if node.name in spiking for name in node.refs}
    alone = program.of_time_alone - spiking
    rules = [(node, rule_of(node.op)) for node in program.nodes if node.name in alone]
    return [node for node, rule in rules if rule is not None and rule.activation]
