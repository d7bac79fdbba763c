"""Neuron nodes: put in place of quantised clips, turned back into them, and into cells that spike.

What the two kinds of nodes hold is in `graph.nodes`.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping
from dataclasses import replace
from typing import Any

import torch
from torch import Tensor

from snnconvert.conversion.graph.nodes import Clip, Lookup, Neuron
from snnconvert.conversion.graph.program import Node, Program, Ref
from snnconvert.conversion.rules.layer_names import layer_names
from snnconvert.conversion.spiking.config import SpikingConfig
from snnconvert.errors import InputError, UnsupportedOpError
from snnconvert.neurons.integrate_and_fire import IF
from snnconvert.neurons.potential import Potential
from snnconvert.neurons.radix import RadixIF
from snnconvert.operators.clip import HALF

Cell = IF | Potential
COMMON_START = "v_init"  # name of the constant
SCALE = "aten.mul.Scalar"


def place_neurons(
    program: Program, constants: Mapping[str, Tensor], functions: Mapping[str, str]
) -> Program:
    """Replace every quantised clip by a neuron with the learned ceiling as its threshold.

    Args:
        functions: name of the function before a quantised clip, by the clip's name.

    Raises:
        UnsupportedOpError: a ceiling that is computed.
        InputError: a ceiling that is not positive.
    """
    nodes = []
    tables, names = tables_of(program), layer_names(program)
    for node in program.nodes:
        if Clip.found(node):
            clip = Clip.of(node)
            ceiling = clip.ceiling.name if isinstance(clip.ceiling, Ref) else ""
            table = tables.get(ceiling, ceiling)
            if table not in constants:
                raise UnsupportedOpError(
                    f"{names[node.name]}: its ceiling is computed, not learned"
                )
            if not bool((constants[table] > 0).all()):
                raise InputError(f"{names[node.name]}: its ceiling is not positive; train it again")
            v_init = None if clip.v_init is None else clip.v_init.name
            neuron = Neuron(clip.input, ceiling, clip.signed, functions.get(node.name), v_init)
            node = neuron.node(node.name, node.layer)
        nodes.append(node)
    return replace(program, nodes=tuple(nodes))


def tables_of(program: Program) -> dict[str, str]:
    """Name of the table over t behind each threshold that is looked up in one."""
    return {n.name: Lookup.of(n).table.name for n in program.nodes if Lookup.found(n)}


def place_clips(program: Program, config: SpikingConfig) -> Program:
    """Inverse of `place_neurons`: the quantised ANN that the neurons, if exact, compute.

    Where `config` has one start other than half for all of them, it reads it as `COMMON_START`.
    """
    own = config.v_init == "optimised"
    common = COMMON_START if config.held_as_counts and config.start != HALF else None

    def clip(node: Node) -> Node:
        if not Neuron.found(node):
            return node
        neuron = Neuron.of(node)
        name = neuron.v_init if own else common
        v_init = None if name is None else Ref(name)
        ceiling = Ref(neuron.v_threshold)
        made = Clip(neuron.input, ceiling, config.levels, neuron.signed, v_init)
        return made.node(node.name, node.layer)

    return replace(program, nodes=tuple(map(clip, program.nodes)))


def weakened(program: Program, scale: float) -> Program:
    """With neurons that fire at `scale` times their thresholds; what a spike is worth stays.

    A neuron with threshold `scale * v_threshold` is one with the old threshold that sees its input
    divided by `scale`; a division commutes with the mean, so every law of conversion holds on.
    """
    nodes: list[Node] = []
    for node in program.nodes:
        if Neuron.found(node):
            neuron = Neuron.of(node)
            args = (neuron.input, 1.0 / scale)
            weaker = Node(f"{node.name}__input", SCALE, args, {}, node.layer)
            nodes.append(weaker)
            node = replace(neuron, input=Ref(weaker.name)).node(node.name, node.layer)
        nodes.append(node)
    return replace(program, nodes=tuple(nodes))


def fitted_names(neuron: str) -> dict[str, str]:
    """Names of the constants that hold the fit of a leaky neuron layer."""
    return {key: f"{neuron}__{key}" for key in ("v_threshold", "gain", "bias")}


def cell_of(
    node: Node, values: Mapping[str, Any], config: SpikingConfig, before: Cell | None = None
) -> Cell:
    """The neurons of `node` as `config` wants them.

    Args:
        values: of a call: constants, and thresholds that depend on its t.
        before: those of the call before, which it is where nothing else is read.
    """
    neuron = Neuron.of(node)
    levels, ceiling = config.levels, values[neuron.v_threshold]
    lowest = -levels if neuron.signed else 0
    if config.held_as_counts:
        own = neuron.v_init if config.v_init == "optimised" else None
        v_init = config.start if own is None else values[own]
        if (
            isinstance(before, IF)
            and before.v_threshold is ceiling
            and (own is None or before.v_init is v_init)
        ):
            return before
        return (RadixIF if config.code == "radix" else IF)(ceiling, levels, lowest, v_init)
    fitted = {"v_threshold": ceiling, "gain": ceiling, "bias": torch.zeros_like(ceiling)}
    if config.neuron == "lif":
        fitted = {key: values[name] for key, name in fitted_names(node.name).items()}
    return Potential(
        ceiling, levels=levels, lowest=lowest, tau=config.leak, v_reset=config.v_reset,
        v_init=config.start, **fitted,
    )  # fmt: skip


def cells_of(
    nodes: Iterable[Node], values: Mapping[str, Any], config: SpikingConfig,
    before: Mapping[str, Cell],
) -> dict[str, Cell]:  # fmt: skip
    """`cell_of` each, by name; those `before` stay where they are the same."""
    return {n.name: cell_of(n, values, config, before.get(n.name)) for n in nodes}


def refuse_signed(signed: Iterable[tuple[str, str | None]], config: SpikingConfig) -> None:
    """InputError where a neuron would need spikes that its leak or hard reset cannot have.

    Args:
        signed: (layer, function before the neurons) of every signed activation.
    """
    for layer, function in signed:
        if config.forgets:
            raise InputError(
                f"{layer}: its activation ({function or 'clip'}) is signed, so its neurons fire "
                "negative spikes, which neurons with a leak or a hard reset cannot: use "
                "neuron='if' with v_reset=None"
            )


def signed_of(program: Program) -> list[tuple[str, str | None]]:
    """(layer, function before them) of the neuron nodes that fire with both signs."""
    names, nodes = layer_names(program), filter(Neuron.found, program.nodes)
    found = [(names[node.name], Neuron.of(node)) for node in nodes]
    return [(layer, neuron.function) for layer, neuron in found if neuron.signed]


def refuse_unfitted(program: Program, constants: Collection[str], config: SpikingConfig) -> None:
    """InputError where a neuron needs a fit that is not among the names of `constants`."""
    names = layer_names(program)
    for node in filter(Neuron.found, program.nodes):
        if config.v_init == "optimised" and Neuron.of(node).v_init is None:
            raise InputError(
                f"{names[node.name]}: v_init='optimised' needs a start fitted to data: "
                "convert a float network with v_init='optimised' and calibration=[...]"
            )
        missing = set(fitted_names(node.name).values()) - set(constants)
        if config.neuron == "lif" and missing:
            raise InputError(
                f"{names[node.name]}: neuron='lif' needs a threshold fitted to data: "
                "convert with calibration=[...], some batches of the network's inputs"
            )
