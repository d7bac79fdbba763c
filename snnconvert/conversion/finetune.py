"""A converted network trained as the spiking network that it is, by surrogate gradients.

After T steps without settling, immediate firing leaves counts that are not yet the quantiser's
integers. Training the weights under the very spikes that arrive closes much of that gap. Gradients
run back through all steps. With n[k] = n[k-1] + clamp(target[k] - n[k-1], -1, 1):

    a neuron that has reached its target follows its input:  dn[k] / dm = s / v_threshold
    one that still hurries after it follows its own past:    dn[k] / dn[k-1] = 1

which is a rectangular surrogate (Wu et al. 2018) of the firing; the rounding of the target is
passed straight through, as when the quantiser was trained.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

import torch
from torch import Tensor
from tqdm import tqdm

from snnconvert.common.checks import checked_integer
from snnconvert.common.denoises import facts_of, with_facts
from snnconvert.conversion.calibration.batches import calls_of
from snnconvert.conversion.calibration.weights.reconstruct import relative_squared_error
from snnconvert.conversion.calibration.weights.relative_adam import RelativeAdam
from snnconvert.conversion.execution.interpreter import Interpreter
from snnconvert.conversion.graph.nodes import Neuron
from snnconvert.conversion.graph.owned import owned
from snnconvert.conversion.graph.program import Node
from snnconvert.conversion.graph.values import leaves
from snnconvert.conversion.rules import has_weights
from snnconvert.conversion.spiking.network import SpikingNetwork, converted
from snnconvert.conversion.spiking.neuron_nodes import cell_of, place_clips
from snnconvert.conversion.spiking.still_judged import unjudged
from snnconvert.errors import InputError
from snnconvert.neurons.integrate_and_fire import IF
from snnconvert.operators.clip import along_channels, from_counts


class SurrogateCount(torch.autograd.Function):
    """n[k] of a neuron layer from n[k-1] and the mean input m over s steps."""

    @staticmethod
    def forward(
        ctx: Any, mean: Tensor, ceiling: Tensor, before: Tensor | None, seen: int, cell: IF,
        signed: bool,
    ) -> Tensor:  # fmt: skip
        target = cell.target(mean, seen)
        so_far = torch.zeros_like(target) if before is None else before
        count = so_far + cell.spikes(so_far, target, signed)
        scaled = mean * along_channels(seen / ceiling, mean)
        reached = count == target
        ctx.save_for_backward(mean, ceiling, reached)
        ctx.follows = reached & (scaled > cell.lowest) & (scaled < cell.levels)
        ctx.seen, ctx.first = seen, before is None
        return count

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor | None, ...]:
        mean, ceiling, reached = ctx.saved_tensors
        rate = along_channels(ctx.seen / ceiling, mean)
        grad_mean = grad * ctx.follows * rate
        top = along_channels(ceiling, mean)
        grad_ceiling = -(grad_mean * mean).sum_to_size(top.shape).view_as(ceiling) / ceiling
        grad_before = None if ctx.first else grad * ~reached
        return grad_mean, grad_ceiling, grad_before, None, None, None


class DifferentiableCall:
    """Neuron layers of one differentiable call: their counts so far, and the step."""

    def __init__(self, network: SpikingNetwork) -> None:
        self.config = network.config
        self.counts: dict[str, Tensor] = {}
        self.step = 0

    def layer(self, node: Node) -> Callable[[dict[str, Any]], Tensor]:
        """A neuron layer as a function of all values: its mean current in this step."""
        neuron = Neuron.of(node)
        source, threshold = neuron.input.name, neuron.v_threshold

        def current(values: dict[str, Any]) -> Tensor:
            seen = min(self.step, self.config.timesteps)
            fixed = {**values, threshold: values[threshold].detach()}
            cell = cell_of(node, fixed, self.config)
            counts = SurrogateCount.apply(
                values[source], values[threshold], self.counts.get(node.name), seen, cell,
                self.config.signed,
            )  # fmt: skip
            self.counts[node.name] = counts
            return from_counts(counts, values[threshold], seen)

        return current


def surrogate_output(
    network: SpikingNetwork, constants: Mapping[str, Tensor], inputs: Sequence[Tensor]
) -> Any:
    """What the network returns with these constants, differentiable in them.

    Args:
        network: gives program and configuration; immediate firing, a fixed `settle`.
        inputs: the program's, in order.
    """
    config, in_progress = network.config, DifferentiableCall(network)
    layers = {node.name: in_progress.layer(node) for node in network.executor.neurons}
    interpreter = Interpreter(place_clips(network.program, config), layers)
    output = None
    for _ in range(config.timesteps + (config.settle or 0)):
        in_progress.step += 1
        output = interpreter.run(constants, inputs)
    return output


def trained_names(network: SpikingNetwork) -> tuple[list[str], set[str]]:
    """Weights and biases of what multiplies, and thresholds: names of constants."""
    constants = network.constants
    weights = {
        name
        for node in network.program.nodes
        if has_weights(node)
        for name in node.refs
        if name in constants and constants[name].is_floating_point()
    }
    thresholds = {Neuron.of(node).v_threshold for node in network.executor.neurons} & set(constants)
    return sorted(weights | thresholds), thresholds


def finetune(
    network: SpikingNetwork,
    batches: Iterable[Any],
    *,
    steps: int,
    rate: float = 0.001,
    teacher: Callable[..., Any] | None = None,
    progress: bool = True,
) -> SpikingNetwork:
    """A network that comes closer after its T (+ settle) steps to what its `teacher` gives.

    Nothing is labelled. Take the float network as the teacher where there is one: any change of a
    weight shifts roundings, so the quantised one is hard to come closer to.

    Args:
        network: converted, immediate firing, a fixed number of `settle` steps, plain neurons.
        batches: arguments of one call each, as for calibration; one training step a batch (large
            ones are cut, as calibration cuts them, into several).
        steps: their number, over which the rate falls to zero.
        rate: relative change of a weight in one step of Adam, at the start.
        teacher: a network with the signature of this one, in evaluation mode; None: the quantised
            ANN that `network` gives at silence.

    Raises:
        InputError: a network that has nothing to gain, no batches, fewer batches than steps, a
            teacher that answers in another shape.
    """
    refuse_exact(network)
    steps = checked_integer("steps", steps, 1)
    untrained, (names, thresholds) = network.constants, trained_names(network)
    answer = network.quantized_ann() if teacher is None else teacher
    optimizer = RelativeAdam({n: untrained[n] for n in names}, thresholds, rate, steps)
    done = 0
    calls = calls_of(network.program, batches)
    for call in tqdm(calls, total=steps, desc="spiking", unit="step", disable=not progress):
        if done == steps:
            break
        with torch.no_grad():
            args, kwargs = network.program.unbind(call)
            wanted = leaves(answer(*args, **kwargs))
        found = leaves(surrogate_output(network, {**untrained, **optimizer.values()}, call))
        refuse_other_answer(found, wanted)
        loss = relative_squared_error(found, wanted)
        if not bool(loss.isfinite()):
            raise InputError(
                f"rate: found {rate:g}, with which training ran away at step {done + 1} (its error "
                "is no number); give a smaller one"
            )
        optimizer.step(loss)
        done += 1
    if done < steps:
        raise InputError(
            f"steps: found {steps}, but only {done} batches; give more, or fewer steps"
        )
    constants = owned({**untrained, **optimizer.result()}, untrained.values())
    history = {**unjudged(network.calibration), "finetuned": {"steps": steps, "rate": rate}}
    tuned = SpikingNetwork(network.program, constants, network.config, history).eval()
    return with_facts(tuned, facts_of(network))


def refuse_other_answer(found: Sequence[Tensor], wanted: Sequence[Tensor]) -> None:
    """InputError unless the teacher answers in the network's own shapes."""
    shapes = [[tuple(value.shape) for value in values] for values in (found, wanted)]
    if shapes[0] != shapes[1]:
        raise InputError(
            f"teacher: answers in the shapes {shapes[1]}, the network in {shapes[0]}; give the "
            "network that it was converted from"
        )


def refuse_exact(network: SpikingNetwork) -> None:
    """InputError unless there is something that training under spikes could close."""
    config = converted(network).config
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
