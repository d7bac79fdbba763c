"""A converted network trained as the spiking network that it is, by surrogate gradients.

After T steps without settling, immediate firing leaves counts that are not yet the quantiser's
integers. Training the weights under the very spikes that arrive closes much of that gap. A
neuron's value is what its spikes say, `v_threshold * n / T`; its derivative is the clip's, a
rectangular surrogate over [0, v_threshold] (Wu et al. 2018; the same that trained the quantiser).
All currents are held as means over time, so the last step's pass carries the whole gradient.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

import torch
from torch import Tensor
from tqdm import tqdm

from snnconvert.conversion.cells import cell_of, place_clips
from snnconvert.conversion.interpret import Interpreter
from snnconvert.conversion.network import SpikingNetwork
from snnconvert.conversion.reconstruct import relative_error
from snnconvert.conversion.relative import RelativeAdam
from snnconvert.conversion.rules import NEURON, RULES
from snnconvert.conversion.signature import leaves
from snnconvert.conversion.simulation import Call, Recorder, immediate
from snnconvert.conversion.stream import calls_of
from snnconvert.errors import InputError
from snnconvert.quantizer import along_channels, from_counts


class SurrogateSpikes(torch.autograd.Function):
    """The mean current of given counts; gradients of the clip that the neurons stand for.

    dy/dx is 1 where lowest < levels * x / ceiling < levels, else 0; dy/dceiling is
    (y - x) / ceiling there and y / ceiling elsewhere.
    """

    @staticmethod
    def forward(
        ctx: Any, x: Tensor, ceiling: Tensor, counts: Tensor, levels: int, lowest: int
    ) -> Tensor:
        output = from_counts(counts, ceiling, levels)
        ctx.save_for_backward(x, ceiling, output)
        ctx.lowest = lowest
        return output

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor | None, ...]:
        x, ceiling, output = ctx.saved_tensors
        top = along_channels(ceiling, x)
        grad_x = grad * ((x < top) & (x > (-top if ctx.lowest else 0)))
        total = grad * output - grad_x * x
        return grad_x, total.sum_to_size(top.shape).view_as(ceiling) / ceiling, None, None, None


def surrogate_output(
    network: SpikingNetwork, constants: Mapping[str, Tensor], inputs: Sequence[Tensor]
) -> Any:
    """What the network returns with these constants, differentiable in them.

    Args:
        network: gives program and configuration.
        inputs: the program's, in order.
    """
    config, executor = network.config, network.executor
    with torch.no_grad():
        fixed = {name: value.detach() for name, value in constants.items()}
        neurons = {node.name: cell_of(node, fixed, config) for node in executor.neurons}
        started = executor.start(fixed, inputs)
        call = Call(executor, started, neurons, config.timesteps, Recorder(executor, None))
        counts = immediate(call, config.settle, config.signed).counts
    functions = {
        node.name: spikes_of(node.args, counts[node.name], config.levels)
        for node in executor.neurons
    }
    return Interpreter(place_clips(network.program, config.levels), functions).run(
        constants, inputs
    )


def spikes_of(
    args: Sequence[Any], counts: Tensor, levels: int
) -> Callable[[dict[str, Any]], Tensor]:
    """A neuron layer as a function of all values: its counts, with a surrogate gradient."""
    source, ceiling, signed = args[0].name, args[1], args[2]

    def spikes(values: dict[str, Any]) -> Tensor:
        lowest = -levels if signed else 0
        return SurrogateSpikes.apply(values[source], values[ceiling], counts, levels, lowest)

    return spikes


def trained_names(network: SpikingNetwork) -> tuple[list[str], set[str]]:
    """Weights and biases of what multiplies, and thresholds: names of constants."""
    constants = network.constants
    weights = {
        name
        for node in network.program.nodes
        if node.op in RULES and RULES[node.op].macs is not None
        for name in node.refs
        if name in constants and constants[name].is_floating_point()
    }
    thresholds = {node.args[1] for node in network.program.nodes if node.op == NEURON}
    return sorted(weights | thresholds), thresholds


def finetune(
    network: SpikingNetwork,
    batches: Iterable[Any],
    *,
    steps: int,
    rate: float = 0.001,
    progress: bool = True,
) -> SpikingNetwork:
    """A network that gives after its T (+ settle) steps what `network` would give at silence.

    Nothing is labelled: the target is the quantised ANN that `network` was converted to.

    Args:
        network: converted, immediate firing, a fixed number of `settle` steps, plain neurons.
        batches: arguments of one call each, as for calibration; one training step a batch.
        steps: their number, over which the rate falls to zero.
        rate: relative change of a weight in one step of Adam, at the start.

    Raises:
        InputError: a network that has nothing to gain, no batches, fewer batches than steps.
    """
    refuse_exact(network)
    if type(steps) is not int or steps < 1:
        raise InputError(f"steps: found {steps!r}, allowed are integers from 1 up")
    start, (names, thresholds) = network.constants, trained_names(network)
    teacher = Interpreter(place_clips(network.program, network.config.levels))
    optimizer = RelativeAdam({n: start[n] for n in names}, thresholds, rate, steps)
    done = 0
    calls = calls_of(network.program, batches)
    for call in tqdm(calls, total=steps, desc="spiking", unit="step", disable=not progress):
        if done == steps:
            break
        with torch.no_grad():
            wanted = leaves(teacher.run(start, call))
        found = surrogate_output(network, {**start, **optimizer.values()}, call)
        optimizer.step(relative_error(leaves(found), wanted))
        done += 1
    if done < steps:
        raise InputError(
            f"steps: found {steps}, but only {done} batches; give more, or fewer steps"
        )
    trained = SpikingNetwork(network.program, {**start, **optimizer.result()}, network.config)
    trained.calibration = {**network.calibration, "finetuned": {"steps": steps, "rate": rate}}
    return trained.eval()


def refuse_exact(network: SpikingNetwork) -> None:
    """InputError unless there is something that training under spikes could close."""
    config = network.config
    if config.firing != "immediate" or config.settle is None or config.simulate == "counts":
        raise InputError(
            "finetune: this network loses nothing (it fires deferred or until silence); convert "
            "with firing='immediate' and settle=0 to run in exactly T steps, then fine-tune that"
        )
    if not config.held_as_counts or config.norm == "per_step":
        raise InputError(
            "finetune: neurons with a leak or hard reset and norm='per_step' are not trained here; "
            "convert with neuron='if' and norm='accumulated'"
        )
