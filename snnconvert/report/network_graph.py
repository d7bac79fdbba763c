"""A converted network as a small graph: its neuron layers and where paths join.

Everything else lies on the edges, so that residual and skip paths are the edges that pass neurons
by. Folded, each vertex is a module of the user's.
"""

from __future__ import annotations

from collections.abc import Mapping
from math import prod
from typing import Any

import torch

from snnconvert.conversion.graph.nodes import Neuron
from snnconvert.conversion.graph.program import Node
from snnconvert.conversion.spiking import simulation
from snnconvert.conversion.spiking.network import SpikingNetwork
from snnconvert.report.trials.calls import Call

MOST_MODULES = 24
JOINS = {"add": "+", "sub": "−", "mul": "×", "cat": "concat"}


@torch.no_grad()
def network_graph(network: SpikingNetwork, call: Call) -> dict[str, Any]:
    """`vertices` in execution order, `edges` between their numbers, and `folded`, the like or None.

    What depends on the diffusion time alone is left out.

    A vertex has `kind` (input, neurons, join, output, module), `label`, `layer` (the user's path,
    "" for none) and `column`: 0 for the highest resolution, 1 for the next, ... A module has
    `layers`, those of the neurons inside.

    Args:
        call: a few inputs.
    """
    places = _columns(network, call)
    program, names = network.program, network.names
    silent = program.of_time_alone | {n for n in program.inputs if program.takes_one_number(n)}
    if len(silent & set(program.inputs)) == len(program.inputs):
        silent = program.of_time_alone
    vertices: list[dict[str, Any]] = []
    edges: list[tuple[int, int]] = []
    sources: dict[str, frozenset[int]] = {}

    def vertex(name: str, kind: str, label: str, layer: str, reads: frozenset[int]) -> None:
        column = places.get(name)
        if column is None:
            column = max((vertices[i]["column"] for i in reads), default=0)
        edges.extend((i, len(vertices)) for i in sorted(reads))
        sources[name] = frozenset([len(vertices)])
        vertices.append({"kind": kind, "label": label, "layer": layer, "column": column})

    for name in program.inputs:
        if name not in silent:
            vertex(name, "input", program.label(name), "", frozenset())
    for node in program.nodes:
        each = [sources.get(name, frozenset()) for name in dict.fromkeys(node.refs)]
        reads = frozenset().union(*each)
        if node.name in silent:
            sources[node.name] = frozenset()
        elif Neuron.found(node):
            vertex(node.name, "neurons", names[node.name], names[node.name], reads)
        elif len(reads) > 1:
            vertex(node.name, "join", join_label(node), node.layer, reads)
        else:
            sources[node.name] = reads
    ends = frozenset().union(*(sources.get(n, frozenset()) for n in program.output_names))
    vertex("", "output", "output", "", ends)
    return {"vertices": vertices, "edges": edges, "folded": folded(vertices, edges)}


def join_label(node: Node) -> str:
    """A sign for the operation where paths join."""
    name = node.short_name
    return JOINS.get(name.rstrip("_"), name)


def _columns(network: SpikingNetwork, call: Call) -> dict[str, int]:
    """How often each image-like value has been made smaller, by its name."""
    inputs = network.program.bind(*call)
    executor = network.executor
    values = executor.start(network.constants, inputs)
    cells, recorder = network.cells(values), simulation.Recorder(executor, None)
    run = simulation.Call(executor, values, cells, network.config.timesteps, recorder)
    simulation.by_counts(run)
    sizes = {
        name: prod(value.shape[2:]) for name, value in values.items()
        if isinstance(value, torch.Tensor) and value.ndim > 2
        and (name in executor.dynamic_names or name in network.program.inputs)
    }  # fmt: skip
    kept = {sizes[n] for n in [*network.program.inputs, *executor.currents] if n in sizes}
    order = {size: column for column, size in enumerate(sorted(kept, reverse=True))}
    return {name: order[size] for name, size in sizes.items() if size in order}


def folded(vertices: list[dict[str, Any]], edges: list[tuple[int, int]]) -> dict[str, Any] | None:
    """The graph of modules; None where there are as many of them as layers."""
    paths = [v["layer"].split(".") for v in vertices if v["kind"] == "neurons"]
    deepest = max((len(path) for path in paths), default=0)
    groups: list[str] = []
    for depth in range(deepest - 1, 0, -1):
        groups = list(dict.fromkeys(".".join(path[:depth]) for path in paths))
        if len(groups) <= MOST_MODULES and len(groups) < len(paths):
            break
    else:
        return None
    members: dict[str, int] = {}
    numbers: list[int | None] = []
    found: list[dict[str, Any]] = []
    for v in vertices:
        inside = v["kind"] in ("neurons", "join") and v["layer"]
        name = ".".join(v["layer"].split(".")[:depth]) if inside else ""
        if inside and v["kind"] == "join" and name not in groups:
            name = next((g for g in groups if g.startswith(f"{name}.")), "")
        if not name:
            numbers.append(None if v["kind"] == "join" else len(found))
            if v["kind"] != "join":
                found.append(dict(v))
            continue
        if name not in members:
            members[name] = len(found)
            found.append({**v, "kind": "module", "label": name, "layer": name, "layers": []})
        numbers.append(members[name])
        if v["kind"] == "neurons":
            found[members[name]]["layers"].append(v["layer"])
    return {"vertices": found, "edges": _contracted(edges, numbers)}


def _contracted(edges: list[tuple[int, int]], numbers: list[int | None]) -> list[tuple[int, int]]:
    """The edges between groups; a vertex without one hands on what it reads."""
    before: dict[int, set[int]] = {}
    found: dict[tuple[int, int], None] = {}
    for start, end in edges:
        number = numbers[start]
        origins = {number} if number is not None else before.get(start, set())
        target = numbers[end]
        if target is None:
            before.setdefault(end, set()).update(origins)
        else:
            found.update(dict.fromkeys((origin, target) for origin in origins if origin != target))
    return list(found)


def errors_by_layer(layers: list[dict[str, Any]]) -> Mapping[str, float]:
    """The whole error of each layer by its name; of several of one name the largest."""
    found: dict[str, float] = {}
    for layer in layers:
        found[layer["name"]] = max(layer["total"], found.get(layer["name"], 0.0))
    return found
