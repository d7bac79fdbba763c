"""Converted networks as NIR graphs (Neuromorphic Intermediate Representation 1.x).

    graph = snnconvert.to_nir(snn, "network.nir")

NIR has linear and convolutional layers, average pooling, flatten, neurons, and sums where edges
meet; no norms but those that fold into weights, no products, no signed spikes. Scales are folded
into the weights, so that every threshold is 1. What NIR does not say of a neuron (that it
subtracts its threshold, starts above zero and fires at v >= 1, not only above) stands in the
metadata; readers that ignore it are named in a warning.
"""

from __future__ import annotations

import io
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from snnconvert.common.warning import warn
from snnconvert.conversion.graph.nodes import Neuron
from snnconvert.conversion.graph.program import Node, Ref
from snnconvert.conversion.graph.signature import BATCH
from snnconvert.conversion.rules import is_number
from snnconvert.conversion.spiking.config import SpikingConfig
from snnconvert.conversion.spiking.network import SpikingNetwork, converted
from snnconvert.conversion.spiking.neuron_nodes import tables_of
from snnconvert.conversion.spiking.on_cpu import network_on_cpu
from snnconvert.errors import InputError, UnsupportedOpError
from snnconvert.exchange.nir.arithmetic import ARITHMETIC
from snnconvert.exchange.nir.context import IGNORED, Layers, Refused, label_of
from snnconvert.exchange.nir.layers import LAYERS, neurons
from snnconvert.exchange.nir.wiring import package
from snnconvert.files.atomic import check_destination, write_atomically

BUILDERS = {**LAYERS, **ARITHMETIC}


def to_nir(network: nn.Module, path: str | Path | None = None) -> Any:
    """The `nir.NIRGraph` of a converted network, written to `path` if one is given.

    Args:
        network: converted, firing immediately, unsigned, without settle steps, of one input and
            one output; branches, sums and joined channels included.

    Raises:
        InputError: neurons or wiring that NIR cannot express, all of it at once; the package nir
            is missing.
        UnsupportedOpError: operations that NIR does not have, all of them by layer.
    """
    nir = package()
    snn = converted(network, f"NIR: {type(network).__name__} is no converted network")
    out = None if path is None else check_destination(path)
    layers = translated(network_on_cpu(snn))
    wiring, output = layers.wiring, layers.current(snn.program.output)
    ends = wiring.scaled(output, torch.ones(1), "output")
    if len(ends) > 1:  # nirtorch adds nothing up at an output
        one = wiring.mixing(torch.eye(output.shape[0]), torch.zeros(output.shape[0]), output.shape)
        ends = [wiring.add("sum", one, ends)]
    wiring.nodes["output"] = nir.Output({"output": np.array(output.shape)})
    wiring.edges += [(end, "output") for end in ends]
    graph = nir.NIRGraph(wiring.nodes, wiring.edges, metadata=layers.facts)
    if out is not None:
        buffer = io.BytesIO()
        nir.write(buffer, graph)
        write_atomically(out, lambda file: file.write(buffer.getvalue()))
    warn(
        "NIR does not say how these neurons reset and start, which the metadata does: "
        + "; ".join(readers_wrong(snn.config, graph))
    )
    return graph


def readers_wrong(config: SpikingConfig, graph: Any) -> list[str]:
    """What each reader of NIR gets wrong of a graph, unless it is told."""
    nir, soft = package(), config.v_reset is None
    kinds = {type(node) for node in graph.nodes.values()}
    starts = f"a start of {config.start:g} thresholds; all fire above the threshold, not at it"
    found = [
        (nir.IF in kinds, "snnTorch makes a leaky neuron of IF"),
        (soft, "Norse and spikingjelly reset to zero (hard)"),
        (True, "sinabs clips inhibition"),
        (True, "spikingjelly needs dt=1.0 given"),
        (config.start != 0, f"none has {starts}"),
        (nir.Affine in kinds, "nirtorch's default map leaves Affine's bias at random"),
        (nir.Flatten in kinds, "and flattens the batch too"),
    ]
    return [words for holds, words in found if holds]


def facts_of(snn: SpikingNetwork) -> dict[str, Any]:
    """What a reader needs beyond the graph."""
    c = snn.config
    return {
        "timesteps": c.timesteps, "code": c.code, "dt": 1.0, "v_init": c.start,
        "reset": "subtract" if c.v_reset is None else "zero", "fires": "v >= v_threshold",
        "decode": "mean of the output over timesteps",
    }  # fmt: skip


def translated(snn: SpikingNetwork) -> Layers:
    """Every operation as nodes of NIR; all that it cannot express in one error, as `to_nir`."""
    wrong, missing = faults_of(snn), []
    if wrong and not isinstance(snn.program.output, Ref):
        raise InputError(f"NIR: cannot express {', '.join(wrong)}")
    layers = Layers(snn, shapes_of(snn), facts_of(snn))
    for node in snn.program.nodes:
        build = neurons if Neuron.found(node) else BUILDERS.get(node.op)
        if is_number(node):
            continue
        if build is None and node.op not in IGNORED:
            missing.append(f"{label_of(node)} ({node.op})")
            continue
        read = [name for name in node.refs if name not in snn.constants]
        if any(name not in layers.currents and not is_number_named(snn, name) for name in read):
            continue  # behind what was named already
        try:
            made = layers.current(node.args[0]) if build is None else build(layers, node)
            layers.currents[node.name] = made
        except Refused as error:
            wrong.append(f"{label_of(node)} ({error})")
    if missing:
        raise UnsupportedOpError(f"NIR: has no {', '.join([*missing, *wrong])}")
    if wrong:
        raise InputError(f"NIR: cannot express {', '.join(wrong)}")
    return layers


def is_number_named(snn: SpikingNetwork, name: str) -> bool:
    return any(node.name == name and is_number(node) for node in snn.program.nodes)


def faults_of(snn: SpikingNetwork) -> list[str]:
    """What of the way it spikes, and of its inputs and outputs, NIR cannot express."""
    c, program = snn.config, snn.program
    reasons = [
        (c.firing != "immediate", "firing='deferred'"),
        (c.signed or any(Neuron.of(n).signed for n in snn.executor.neurons),
         "signed spikes (use signed=False, settle=0)"),
        (c.settle != 0, "settle steps (use settle=0)"),
        (c.norm != "accumulated", "norm='per_step'"),
        (c.v_init == "optimised", "v_init='optimised'"),
        (bool(tables_of(program)), "thresholds over t"),
        (len(program.inputs) != 1, f"{len(program.inputs)} inputs"),
        (not isinstance(program.output, Ref), "several outputs"),
    ]  # fmt: skip
    return [reason for found, reason in reasons if found]


def shapes_of(snn: SpikingNetwork) -> dict[str, tuple[int, ...]]:
    """Shape of every value of one sample, without the batch."""
    signature = snn.program.signature
    if signature is None:
        raise InputError("NIR: the shape of the network's input is unknown; convert it again")
    rows = max(1, signature.smallest_batch)
    floats = [v.dtype for v in snn.constants.values() if v.is_floating_point()]
    inputs = [
        torch.zeros([rows if n == BATCH else n for n in signature.shapes[name]])
        .to(signature.dtypes.get(name, floats[0])) for name in snn.program.inputs
    ]  # fmt: skip
    values = snn.executor.start(snn.constants, inputs)

    def rest(node: Node, _fresh: bool) -> bool:
        values[node.name] = torch.zeros_like(values[Neuron.of(node).input.name])
        return True

    snn.executor.step(values, rest)
    return {n: tuple(v.shape[1:]) for n, v in values.items() if isinstance(v, Tensor) and v.ndim}
