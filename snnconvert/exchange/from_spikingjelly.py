"""spikingjelly networks as converted ones: its own conversions, and hand-built feed-forward nets.

    snn = snnconvert.from_spikingjelly(net, timesteps=16, example_inputs=x)

The result does in one call what `net` does in `timesteps` calls on a constant input, spike for
spike, so that `compare`, `report`, `evaluate` and `export_onnx` take it. `with_config(signed=True,
settle=None)` then repairs the error that the order of spikes causes. Where the network has a max
pool or another operation that gives something else on spikes than on their mean, it is one of
`norm="per_step"`, which has no ONNX; `norm="accumulated"` goes with that repair.
"""

from __future__ import annotations

import copy
from dataclasses import dataclass, replace
from typing import Any

import torch
from spikingjelly.activation_based import base, functional, layer, neuron
from torch import Tensor, nn
from torch.utils import _pytree as pytree

from snnconvert.common.checks import checked_integer
from snnconvert.conversion.convert import convert
from snnconvert.conversion.graph.signature import arguments_of
from snnconvert.conversion.graph.values import leaves
from snnconvert.conversion.rules import is_commuting
from snnconvert.conversion.spiking.network import SpikingNetwork
from snnconvert.conversion.spiking.neuron_nodes import fitted_names
from snnconvert.errors import InputError
from snnconvert.operators.clip import QuantizedClip

KNOWN = (neuron.IFNode, neuron.HalfThresholdIFNode, neuron.LIFNode)
CONTAINERS = (layer.SeqToANNContainer, layer.MultiStepContainer)  # of what is done step by step


@dataclass(frozen=True)
class Kind:
    """What all neurons of a network share: leak, reset and start, in thresholds."""

    tau: float | None
    v_reset: float | None
    v_init: float


class Stand(nn.Module):
    """A quantised clip in the place of a neuron of threshold theta whose spikes are worth 1."""

    def __init__(self, node: Any, levels: int) -> None:
        super().__init__()
        self.clip = QuantizedClip(levels)
        nn.init.constant_(self.clip.ceiling, float(node.v_threshold))
        self.clip.double()  # holds a threshold of any precision
        self.per_input = 1 / node.tau if getattr(node, "decay_input", False) else 1.0
        self.worth = 1 / float(node.v_threshold)

    def forward(self, x: Tensor) -> Tensor:
        x = x * self.per_input if self.per_input != 1 else x
        spikes: Tensor = self.clip(x)
        return spikes * self.worth if self.worth != 1 else spikes


def from_spikingjelly(network: nn.Module, timesteps: int, *, example_inputs: Any) -> SpikingNetwork:
    """The spiking network of ours that spikes as `network`, which is left as it is.

    Args:
        network: feed-forward, of nodes `IFNode` or `HalfThresholdIFNode`, or `LIFNode` of one tau.
        timesteps: calls of `network` that one of the result's stands for.
        example_inputs: arguments of one call, batch first.

    Raises:
        InputError: neurons that have no counterpart, all of them by name, or several kinds; a
            forward of step mode "m" that repeats its input or averages over time itself.
        UnsupportedOpError: an operation without a rule.
    """
    timesteps = checked_integer("timesteps", timesteps, 1)
    kind = kind_of(network)
    refuse_own_time(network, example_inputs)
    stand_in = single_steps(copy.deepcopy(network))
    functional.set_step_mode(stand_in, "s")
    stand_in = replaced(stand_in, timesteps).eval()
    with torch.no_grad():
        snn = convert(
            stand_in, timesteps, example_inputs=example_inputs, signed=False, settle=0,
            v_init=kind.v_init, v_reset=kind.v_reset,
        )  # fmt: skip
    snn = snn if kind.tau is None else leaky(snn, kind.tau)
    return snn.with_config(norm="per_step").eval() if sees_steps(snn) else snn.eval()


def sees_steps(snn: SpikingNetwork) -> bool:
    """Whether an operation such as a max pool gives something else on spikes than on their mean."""
    moving = snn.executor.dynamic_names
    return any(
        run is not None and not is_commuting(node, [name for name in reads if name in moving])
        for node, run, reads in snn.executor.dynamic
    )


def refuse_own_time(network: nn.Module, example_inputs: Any) -> None:
    """InputError where a network of step mode "m" gives anything but one result a time step."""
    stepped = [module for module in network.modules() if isinstance(module, base.StepModule)]
    if not any(isinstance(m, base.MultiStepModule) or m.step_mode == "m" for m in stepped):
        return
    tried = copy.deepcopy(network).eval()
    functional.reset_net(tried)
    given = arguments_of(example_inputs)
    sizes = [size for value in leaves(given) for size in value.shape]
    steps = 1 + max(sizes, default=1)  # no size of an input can pass for it
    args, kwargs = pytree.tree_map(
        lambda x: x.expand(steps, *x.shape) if isinstance(x, Tensor) else x, given
    )
    try:
        with torch.no_grad():
            shapes = [list(value.shape) for value in leaves(tried(*args, **kwargs))]
        found = f"gives {shapes} for {steps} steps of the example inputs"
        sound = all(shape[:1] == [steps] for shape in shapes)
    except Exception as error:  # whatever user code raises
        found, sound = f"fails on {steps} steps of the example inputs ({error})", False
    if not sound:
        raise InputError(
            f"spikingjelly: {type(network).__name__}, of step mode 'm', {found}; needed is one "
            "result a time step: give the part that neither repeats its input nor sums over time"
        )


def single_steps(network: nn.Module) -> nn.Module:
    """`network` with plain sequences in place of containers that go over time."""
    for name, child in network.named_children():
        setattr(network, name, single_steps(child))
    return nn.Sequential(*network) if isinstance(network, CONTAINERS) else network


def replaced(network: nn.Module, timesteps: int) -> nn.Module:
    """`network` with clips in place of neurons; `network` itself where it is one."""
    if isinstance(network, neuron.BaseNode):
        return Stand(network, timesteps)
    for name, child in network.named_children():
        setattr(network, name, replaced(child, timesteps))
    return network


def kind_of(network: nn.Module) -> Kind:
    """What its neurons share.

    Raises:
        InputError: none, some that have no counterpart, or several kinds.
    """
    found: dict[Kind, str] = {}
    wrong = []
    for name, module in network.named_modules():
        if isinstance(module, base.MultiStepModule) and not isinstance(module, CONTAINERS):
            wrong.append(f"{name} ({type(module).__name__})")
        if not isinstance(module, base.MemoryModule) or isinstance(module, layer.Dropout):
            continue  # dropout does nothing in evaluation mode
        if type(module) not in KNOWN:
            wrong.append(f"{name} ({type(module).__name__})")
            continue
        if module.v_reset not in (None, 0.0):
            wrong.append(f"{name} (v_reset={module.v_reset})")
            continue
        start = module._memories_rv["v"]
        if not isinstance(start, float | int) or not 0 <= start / module.v_threshold < 1:
            wrong.append(f"{name} (starts at v={start})")
            continue
        tau = float(module.tau) if isinstance(module, neuron.LIFNode) else None
        found.setdefault(Kind(tau, module.v_reset, float(start) / module.v_threshold), name)
    if wrong:
        raise InputError(
            f"spikingjelly: {', '.join(wrong)}: no counterpart here; there is one for IFNode, "
            "HalfThresholdIFNode and LIFNode that reset to 0 or by subtraction and start in "
            "[0, v_threshold)"
        )
    if len(found) != 1:
        kinds = "; ".join(f"{name}: {kind}" for kind, name in found.items())
        raise InputError(
            f"spikingjelly: {kinds}: neurons of one kind are needed" if found
            else f"spikingjelly: {type(network).__name__} has no neurons"
        )  # fmt: skip
    return next(iter(found))


def leaky(snn: SpikingNetwork, tau: float) -> SpikingNetwork:
    """`snn` with a leak; every spike keeps its threshold and its worth."""
    constants = dict(snn.constants)
    for name in snn.executor.currents:
        cell, names = snn.neurons[snn.names[name]], fitted_names(name)
        constants[names["v_threshold"]] = constants[names["gain"]] = cell.v_threshold
        constants[names["bias"]] = torch.zeros_like(cell.v_threshold)
    config = replace(snn.config, neuron="lif", tau=tau)
    return SpikingNetwork(snn.program, constants, config).eval()
