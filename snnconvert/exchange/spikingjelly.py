"""Converted networks as spikingjelly networks.

    net = snnconvert.to_spikingjelly(snn)
    total = sum(net(x) for _ in range(T))      # step_mode "s"; functional.reset_net(net) before
    output = total / T

It fires immediately, on spikingjelly's neurons (`IFNode`, `LIFNode` with threshold 1 between two
scales, as its own converter places them); signed neurons, which it does not have, are ours on its
base class. Every call is one time step with the whole input; calls after the T-th present nothing
any more and let signed spikes correct (`settle`).
"""

from __future__ import annotations

from typing import Any

import torch
from spikingjelly.activation_based import base, neuron
from torch import Tensor, nn
from torch.utils import _pytree as pytree

from snnconvert.common.warning import warn
from snnconvert.conversion.execution.executor import Executor
from snnconvert.conversion.graph.nodes import Neuron
from snnconvert.conversion.graph.program import Node
from snnconvert.conversion.graph.values import substitute
from snnconvert.conversion.rules import is_commuting
from snnconvert.conversion.spiking.network import SpikingNetwork, converted
from snnconvert.conversion.spiking.neuron_nodes import tables_of
from snnconvert.errors import InputError
from snnconvert.neurons.integrate_and_fire import IF
from snnconvert.neurons.potential import Potential
from snnconvert.neurons.spike_by_spike import ClippedIFNode
from snnconvert.operators.clip import along_channels


def to_spikingjelly(network: nn.Module) -> SpikingJellyNetwork:
    """The converted network as a spikingjelly network; weights are shared.

    Raises:
        InputError: no converted network, or one that spikingjelly's neurons cannot express; all
            reasons at once.
    """
    snn = converted(network, f"spikingjelly: {type(network).__name__} is no converted network")
    c = snn.config
    reasons = [
        (c.firing != "immediate", "firing='deferred' (use firing='immediate')"),
        (c.norm != "accumulated", "norm='per_step'"),
        (bool(tables_of(snn.program)), "thresholds over t"),
        (not c.signed and bool(c.settle),
         "settle steps without signed spikes, in which IFNode would fire on (use settle=0)"),
    ]  # fmt: skip
    wrong = [reason for found, reason in reasons if found]
    if wrong:
        raise InputError(
            f"spikingjelly: found {'; '.join(wrong)}, which its neurons cannot express"
        )
    if waiting := [snn.names[name] for name in sorted(snn.executor.waiting)]:
        warn(
            f"spikingjelly: {', '.join(waiting)} read roots, quotients or the like; where such a "
            "one is undefined before all spikes have come, spikingjelly's neurons stay NaN"
        )
    result: SpikingJellyNetwork = SpikingJellyNetwork(snn).eval()
    return result


class ScaledNode(nn.Module):
    """A spikingjelly neuron of threshold 1 between two scales.

    Args:
        node: of spikingjelly, whose spikes are 0 and 1.
        scale: what its input is divided by.
        worth: what a spike carries.
        bias: current that is added while the input is presented, before the scale.
    """

    scale: Tensor
    worth: Tensor
    bias: Tensor | None

    def __init__(
        self, node: base.MemoryModule, scale: Tensor, worth: Tensor, bias: Tensor | None = None
    ) -> None:
        super().__init__()
        self.node = node
        self.register_buffer("scale", scale)
        self.register_buffer("worth", worth)
        self.register_buffer("bias", bias)

    def forward(self, x: Tensor, presented: bool) -> Tensor:
        if self.bias is not None and presented:
            x = x + along_channels(self.bias, x).to(x.dtype)
        x = x / along_channels(self.scale, x).to(x.dtype)
        many = self.node.step_mode == "m"
        spikes: Tensor = self.node(x[None])[0] if many else self.node(x)
        return spikes * along_channels(self.worth, x).to(x.dtype)


def node_of(cell: IF | Potential, signed: bool) -> ScaledNode:
    """The neurons of a layer as spikingjelly's."""
    one = torch.ones_like(cell.v_threshold)
    if isinstance(cell, Potential):
        kind: Any = neuron.IFNode(1.0, v_reset=cell.v_reset)
        if cell.tau is not None:
            kind = neuron.LIFNode(
                cell.tau, decay_input=False, v_threshold=1.0, v_reset=cell.v_reset
            )
        kind.set_reset_value("v", float(cell.v_init))
        result = ScaledNode(kind, cell.v_threshold, cell.gain, cell.bias)
    elif signed or cell.lowest < 0:
        unit = IF(one, cell.levels, cell.lowest, cell.v_init)
        return ScaledNode(ClippedIFNode(unit, signed), cell.v_threshold, cell.v_threshold)
    else:
        kind = neuron.IFNode(1.0, v_reset=None)
        start = cell.v_init
        if isinstance(start, Tensor) and start.ndim == 1:
            raise InputError("spikingjelly: v_init='optimised' needs signed spikes (signed=True)")
        kind.set_reset_value("v", float(start))
        result = ScaledNode(kind, cell.v_threshold, cell.v_threshold)
    kind.v = kind._memories_rv["v"]
    return result


class SpikingJellyNetwork(base.MemoryModule):
    """One time step a call (`step_mode` "s"), or [steps, B, ...] at once ("m").

    `spikingjelly.activation_based.functional` resets it and sets its step mode and its neurons'
    backend as those of any other network.

    Attributes:
        timesteps: T; the mean over them of what `timesteps` (and settle) calls give is the output.
    """

    step: Any

    def __init__(self, network: SpikingNetwork) -> None:
        super().__init__()
        self.program, self.timesteps = network.program, network.config.timesteps
        executor = Executor(network.program)
        self.static, self.dynamic = executor.static, executor.dynamic
        self.moving = executor.dynamic_names
        self.constants = nn.ParameterDict(
            {name: nn.Parameter(v, requires_grad=False) for name, v in network.constants.items()}
        )
        signed = network.config.signed
        self.neurons = nn.ModuleDict(
            {
                name: node_of(network.neurons[network.names[name]], signed)
                for name in executor.currents
            }
        )
        self.register_memory("step", 0)
        self.register_memory("sums", {})  # accumulated operands of non-linear operations
        self.register_memory("before", {})  # s * f(S / s) of the step before

    def single_step_forward(self, *args: Any, **kwargs: Any) -> Any:
        self.step += 1
        values: dict[str, Any] = dict(self.constants.items())
        inputs = self.program.bind(args, kwargs)
        values.update(zip(self.program.inputs, inputs, strict=True))
        presented = self.step <= self.timesteps
        with torch.no_grad():
            for node, fixed in self.static:
                values[node.name] = fixed(values)
            for node, run, _ in self.dynamic:
                values[node.name] = self._current(node, run, values, presented)
        rest = 1.0 if presented else 0.0

        def shown(ref: Any) -> Any:
            found = values[ref.name]
            return found if ref.name in self.moving else found * rest

        return substitute(self.program.output, shown)

    def multi_step_forward(self, *args: Any, **kwargs: Any) -> Any:
        steps = len(pytree.tree_leaves((args, kwargs))[0])
        at = [pytree.tree_map(lambda x, k=k: x[k], (args, kwargs)) for k in range(steps)]
        outputs = [self.single_step_forward(*one, **named) for one, named in at]
        return pytree.tree_map(lambda *values: torch.stack(values), *outputs)

    def _current(self, node: Node, run: Any, values: dict[str, Any], presented: bool) -> Any:
        if Neuron.found(node):
            source = Neuron.of(node).input.name
            current = values[source]
            if source not in self.moving and not presented:
                current = torch.zeros_like(current)
            return self.neurons[node.name](current, presented)
        moving = [name for name in node.refs if name in self.moving]
        if not is_commuting(node, moving):
            return self._telescoped(node, run, values, moving)
        if presented:
            return run(values)
        at_rest = {name: pytree.tree_map(torch.zeros_like, values[name]) for name in moving}
        return pytree.tree_map(torch.sub, run(values), run({**values, **at_rest}))

    def _telescoped(self, node: Node, run: Any, values: dict[str, Any], moving: list[str]) -> Any:
        """What s * f(mean input so far) has grown by in this step."""
        s = min(self.step, self.timesteps)
        means = {}
        for name in moving:
            key = f"{node.name}/{name}"
            self.sums[key] = self.sums[key] + values[name] if key in self.sums else values[name]
            means[name] = self.sums[key] / s
        now = run({**values, **means}) * s
        before, self.before[node.name] = self.before.get(node.name), now
        return now if before is None else now - before
