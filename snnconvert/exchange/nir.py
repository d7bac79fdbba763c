"""Converted networks as NIR graphs (Neuromorphic Intermediate Representation 1.x).

    graph = snnconvert.to_nir(snn, "network.nir")

NIR has linear and convolutional layers, average pooling, flatten, and neurons; no norms, no concat,
no signed spikes. Scales are folded into the weights, so that every threshold is 1. What NIR does
not say of a neuron (that it subtracts its threshold, starts above zero and fires at v >= 1, not
only above) stands in the metadata; readers that ignore it are named in a warning.
"""

from __future__ import annotations

import io
import itertools
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from snnconvert.common.warning import warn
from snnconvert.conversion.graph.nodes import Neuron
from snnconvert.conversion.graph.program import Node, Ref
from snnconvert.conversion.graph.signature import BATCH
from snnconvert.conversion.rules import argument_at
from snnconvert.conversion.spiking.network import SpikingNetwork, converted
from snnconvert.conversion.spiking.neuron_nodes import tables_of
from snnconvert.errors import InputError, UnsupportedOpError
from snnconvert.files.atomic import check_destination, write_atomically

READERS = (
    "snnTorch makes a leaky neuron of IF; Norse and spikingjelly reset to zero (hard); sinabs "
    "clips inhibition; none has a start; nirtorch's default map leaves Affine's bias at random"
)
IGNORED = ("aten.dropout.default", "aten.detach.default", "aten.contiguous.default")
FLAT = ("aten.flatten.using_ints", "aten.view.default", "aten.reshape.default")


def to_nir(network: nn.Module, path: str | Path | None = None) -> Any:
    """The `nir.NIRGraph` of a converted network, written to `path` if one is given.

    Args:
        network: converted, firing immediately, unsigned, without settle steps; a chain of layers.

    Raises:
        InputError: neurons or wiring that NIR cannot express, all of it at once; the package nir
            is missing.
        UnsupportedOpError: operations that NIR does not have, all of them by layer.
    """
    nir = package()
    snn = converted(network, f"NIR: {type(network).__name__} is no converted network")
    out = None if path is None else check_destination(path)
    refuse(snn)
    layers: list[tuple[str, Any]] = []
    shape: tuple[int, ...] = shapes_of(snn)[snn.program.inputs[0]]
    layers.append(("input", nir.Input({"input": np.array(shape)})))
    worth = torch.ones(1)  # of a unit that comes from the layer before, per channel or element
    for node in snn.program.nodes:
        if node.op in IGNORED:
            continue
        before, shape = shape, shapes_of(snn)[node.name]
        made, worth = layer_of(snn, node, worth, before, shape)
        layers.append((f"{len(layers)}_{(node.layer or node.name).replace('.', '_')}", made))
    layers.append(("output", nir.Output({"output": np.array(shape)})))
    names = [name for name, _ in layers]
    edges = list(itertools.pairwise(names))
    graph = nir.NIRGraph(dict(layers), edges, metadata=facts_of(snn))
    if out is not None:
        buffer = io.BytesIO()
        nir.write(buffer, graph)
        write_atomically(out, lambda file: file.write(buffer.getvalue()))
    warn(f"NIR does not say how these neurons reset and start, which the metadata does: {READERS}")
    return graph


def package() -> Any:
    """The package nir. InputError where it is missing."""
    try:
        import nir
    except ImportError as error:
        raise InputError(
            "NIR: the package nir is missing: pip install 'snnconvert[nir]'"
        ) from error
    return nir


def facts_of(snn: SpikingNetwork) -> dict[str, Any]:
    """What a reader needs beyond the graph."""
    c = snn.config
    return {
        "timesteps": c.timesteps, "code": c.code, "dt": 1.0, "v_init": c.start,
        "reset": "subtract" if c.v_reset is None else "zero", "fires": "v >= v_threshold",
        "decode": "mean of the output over timesteps",
    }  # fmt: skip


def refuse(snn: SpikingNetwork) -> None:
    """InputError or UnsupportedOpError for all that NIR cannot express."""
    c, program = snn.config, snn.program
    readers = program.readers()
    branching = [
        f"{node.layer or node.name} reads {len(moving)} values"
        for node in program.nodes
        if len(moving := [n for n in node.refs if n not in snn.constants]) != 1
    ]
    branching += [f"{name} is read {len(found)} times" for name, found in readers.items()
                  if name not in snn.constants and len(found) > 1]  # fmt: skip
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
        (bool(branching), f"branches ({'; '.join(branching)})"),
    ]  # fmt: skip
    known = {*LAYERS, *IGNORED}
    unknown = [f"{node.layer or node.name} ({node.op})" for node in program.nodes
               if node.op not in known and not Neuron.found(node)]  # fmt: skip
    wrong = [reason for found, reason in reasons if found]
    if unknown:
        raise UnsupportedOpError(f"NIR: has no {', '.join([*unknown, *wrong])}")
    if wrong:
        raise InputError(f"NIR: cannot express {', '.join(wrong)}")


def shapes_of(snn: SpikingNetwork) -> dict[str, tuple[int, ...]]:
    """Shape of every value of one sample, without the batch."""
    signature = snn.program.signature
    if signature is None:
        raise InputError("NIR: the shape of the network's input is unknown; convert it again")
    name = snn.program.inputs[0]
    given = torch.zeros([1 if n == BATCH else n for n in signature.shapes[name]])
    given = given.to(next(iter(snn.constants.values())).dtype)
    values = snn.executor.start(snn.constants, [given])

    def rest(node: Node, _fresh: bool) -> bool:
        values[node.name] = torch.zeros_like(values[Neuron.of(node).input.name])
        return True

    snn.executor.step(values, rest)
    return {n: tuple(v.shape[1:]) for n, v in values.items() if isinstance(v, Tensor) and v.ndim}


Made = tuple[Any, Tensor]  # node of NIR, and what a unit of its result is worth


def layer_of(
    snn: SpikingNetwork, node: Node, worth: Tensor, before: Sequence[int], shape: Sequence[int]
) -> Made:
    """One layer in NIR: weights take the scales of both sides, so neurons have threshold 1."""
    if Neuron.found(node):
        return neurons(snn, node, shape)
    return LAYERS[node.op](snn, node, worth, before)


def scale_after(snn: SpikingNetwork, node: Node) -> tuple[Tensor, Tensor]:
    """(threshold, bias current) of the neurons that a weighted layer leads to; 1 and 0 for none."""
    nodes = list(snn.program.nodes)
    for later in nodes[nodes.index(node) + 1 :]:
        if later.op in WEIGHTED:
            break
        if Neuron.found(later):
            cell = snn.neurons[snn.names[later.name]]
            return cell.v_threshold, getattr(cell, "bias", torch.zeros(()))
    return torch.ones(()), torch.zeros(())


def folded(snn: SpikingNetwork, node: Node, worth: Tensor, axes: int) -> tuple[Any, Any]:
    """Weight and bias with the scales of both sides in them."""
    weight = snn.constants[node.args[1].name]
    given = argument_at(node, 2)
    bias = torch.zeros(len(weight)) if given is None else snn.constants[given.name]
    theta, current = scale_after(snn, node)
    incoming = worth.view(1, -1, *(1,) * axes)
    scaled = weight * incoming / theta.view(-1, *(1,) * (weight.ndim - 1))
    return array(scaled), array((bias + current) / theta)


def array(value: Tensor) -> Any:
    return value.detach().cpu().numpy()


def convolution(snn: SpikingNetwork, node: Node, worth: Tensor, before: Sequence[int]) -> Made:
    nir, (stride, padding, dilation) = package(), (argument_at(node, i) for i in (3, 4, 5))
    groups = argument_at(node, 6) or 1
    if groups != 1 and worth.numel() > 1:
        raise InputError(f"NIR: {node.layer}: grouped convolutions need one threshold a layer "
                         "before them (per_channel=False)")  # fmt: skip
    weight, bias = folded(snn, node, worth, 2)
    two = [pair(value, default) for value, default in ((stride, 1), (padding, 0), (dilation, 1))]
    made = nir.Conv2d(tuple(before[1:]), weight, two[0], two[1], two[2], groups, bias)
    return made, torch.ones(1)


def pair(value: Any, default: int) -> tuple[int, int]:
    values = list(value) if isinstance(value, list | tuple) else [value or default]
    return (int(values[0]), int(values[-1])) if values else (default, default)


def linear(snn: SpikingNetwork, node: Node, worth: Tensor, before: Sequence[int]) -> Made:
    weight, bias = folded(snn, node, worth, 0)
    return package().Affine(weight, bias), torch.ones(1)


def pooling(_snn: SpikingNetwork, node: Node, worth: Tensor, _before: Sequence[int]) -> Made:
    kernel = pair(node.args[1], 1)
    stride = pair(argument_at(node, 2) or kernel, 1)
    padding = pair(argument_at(node, 3), 0)
    made = package().AvgPool2d(np.array(kernel), np.array(stride), np.array(padding))
    return made, worth


def flat(_snn: SpikingNetwork, _node: Node, worth: Tensor, before: Sequence[int]) -> Made:
    made = package().Flatten({"input": np.array(before)}, 0, -1)
    each = int(np.prod(before[1:]))
    return made, worth.repeat_interleave(each) if worth.numel() > 1 else worth


def neurons(snn: SpikingNetwork, node: Node, shape: Sequence[int]) -> Made:
    """IF or LIF of threshold 1; v' = v * (1 - 1 / tau) + input in steps of dt = 1."""
    nir, cell, one = package(), snn.neurons[snn.names[node.name]], np.ones(tuple(shape), np.float32)
    worth = getattr(cell, "gain", cell.v_threshold).reshape(-1)
    facts = facts_of(snn)
    if snn.config.leak is not None:
        tau = one * snn.config.leak
        made = nir.LIF(tau, tau, one * 0, one, one * 0, metadata=facts)
    else:
        made = nir.IF(one, one, one * 0, metadata=facts)
    return made, worth


Builder = Callable[[SpikingNetwork, Node, Tensor, Sequence[int]], Made]
WEIGHTED = ("aten.conv2d.default", "aten.linear.default")
LAYERS: dict[str, Builder] = {
    "aten.conv2d.default": convolution, "aten.linear.default": linear,
    "aten.avg_pool2d.default": pooling, **dict.fromkeys(FLAT, flat),
}  # fmt: skip
