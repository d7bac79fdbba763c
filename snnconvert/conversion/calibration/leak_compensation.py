"""Leak compensation: threshold, gain and bias current of leaky neurons, fitted to their inputs.

A leaky neuron is silent below the current that its leak eats up, and answers in plateaus above it.
The fit goes through the layers in order, runs the calibration inputs as the spiking network will
run them (deferred: each neuron driven by its mean input; immediate: by the current of every single
step), and takes the threshold and the bias current against the leak for which the spike counts,
times the best gain, are closest in mean square to the activation of the quantised network. What it
leaves over is what `compare` reports as temporal error.
"""

from __future__ import annotations

import itertools
from collections.abc import Sequence

import torch
from torch import Tensor

from snnconvert.common.subsample import drawn
from snnconvert.conversion.calibration.batches import Kept
from snnconvert.conversion.calibration.distributions import channel_rows, shape_of
from snnconvert.conversion.execution.executor import Executor, Values
from snnconvert.conversion.graph.nodes import Neuron
from snnconvert.conversion.graph.program import Node, Program
from snnconvert.conversion.spiking.config import SpikingConfig
from snnconvert.conversion.spiking.neuron_nodes import fitted_names
from snnconvert.neurons.potential import Potential, PotentialNode
from snnconvert.operators.clip import along_channels, from_counts, to_counts

INPUTS = 64  # of those kept from calibration; more fit no better and cost time
INPUT_STEPS = 1024  # inputs times clock steps, where every step is kept
FEWEST_INPUTS = 16
VALUES = 16_384  # per layer that the fit looks at
FEWEST_VALUES = 64  # that a channel needs to have a threshold of its own
# Tried: thresholds over the ceiling, bias currents over the one that just fires; then around the
# best of these, finer.
COARSE = ([1.0, 0.3, 0.5, 0.7, 0.85, 1.15, 1.3, 1.45, 1.7], [0.5, 0.8])
FINE = ([1.0, 0.93, 0.96, 1.04, 1.08], [0.0, 0.3, 0.4, 0.6, 0.7, 0.8, 0.9])


@torch.no_grad()
def compensate_leak(
    program: Program,
    constants: dict[str, Tensor],
    config: SpikingConfig,
    kept: Kept,
    per_channel: bool = True,
) -> dict[str, Tensor]:
    """Constants that hold the fit of every neuron layer, by the names of `fitted_names`.

    Args:
        program, constants: of the spiking network.
        kept: calibration inputs; 64 of them are used (immediate firing: so many that all their
            clock steps fit into memory, 16 or more).
        per_channel: a fit for each channel, where there are enough values, instead of each layer.
    """
    executor = Executor(program)
    steps = 1 if config.firing == "deferred" else config.timesteps
    inputs = kept.sample(min(INPUTS, max(FEWEST_INPUTS, INPUT_STEPS // steps)))
    clean = executor.start(constants, inputs)
    leaky = [dict(clean) for _ in range(steps)]  # means after each clock step; deferred: the last
    last = {name: node.name for node in program.nodes for name in node.refs}
    fits: dict[str, Tensor] = {}
    for node, run, _ in executor.dynamic:
        if run is None:
            fits |= fit_layer(
                node, constants[Neuron.of(node).v_threshold], clean, leaky, config, per_channel
            )
        else:
            for values in (clean, *leaky):
                values[node.name] = run(values)
        for name in set(node.refs):
            if last[name] == node.name and name not in constants:
                for values in (clean, *leaky):
                    del values[name]
    return fits


def fit_layer(
    node: Node,
    ceiling: Tensor,
    clean: Values,
    leaky: list[Values],
    config: SpikingConfig,
    per_channel: bool,
) -> dict[str, Tensor]:
    """Fit one neuron layer and set its value in all of `clean` and `leaky`."""
    source, levels = Neuron.of(node).input.name, config.timesteps
    x = clean[source]
    counts = to_counts(x, ceiling, levels, 0, levels)
    clean[node.name] = from_counts(counts, ceiling, levels)
    means = [values[source] for values in leaky]
    deferred = config.firing == "deferred"
    currents = means if deferred else single_steps(means)
    top = along_channels(ceiling, x).to(x.dtype)
    axis = channels_of(ceiling, x) if per_channel else None
    if axis is not None and x.numel() // x.shape[axis] < FEWEST_VALUES:
        axis = None
    seen = torch.stack([sampled(current / top, axis) for current in currents])
    seen = seen.expand(levels, -1, -1)  # deferred: the mean input, in every step
    fitted = fitted_leak(seen, sampled(counts / levels, axis), config)
    shape = shape_of(x, axis)
    if ceiling.ndim > 1 and len(shape) == 1:
        shape = (1, *shape, *(1,) * (x.ndim - 2))
    threshold, gain, bias = (value.view(shape).to(ceiling.dtype) * ceiling for value in fitted)
    cell = Potential(
        ceiling, threshold, gain, bias, levels, 0, config.leak, config.v_reset, config.start
    )
    if deferred:
        leaky[0][node.name] = cell.value(cell.final(means[0]))
    else:
        neuron, fired = PotentialNode(cell, signed=False), torch.zeros_like(x)
        for step, (values, current) in enumerate(zip(leaky, currents, strict=True), start=1):
            fired = fired + neuron(current)
            values[node.name] = cell.value(fired, step)
    names = fitted_names(node.name)
    return {names["v_threshold"]: threshold, names["gain"]: gain, names["bias"]: bias}


def single_steps(means: Sequence[Tensor]) -> list[Tensor]:
    """Currents of single steps whose means after steps 1, 2, ... are `means`."""
    later = [k * means[k - 1] - (k - 1) * means[k - 2] for k in range(2, len(means) + 1)]
    return [means[0], *later]


def channels_of(ceiling: Tensor, x: Tensor) -> int | None:
    """The axis of `x` along which neurons may have thresholds of their own.

    Where the ceiling has one for each channel it says so; else 1, but for [B, tokens, features].
    """
    if ceiling.ndim > 1:  # it broadcasts, from the back
        sizes = enumerate(ceiling.shape, x.ndim - ceiling.ndim)
        return next((axis for axis, size in sizes if size > 1), None)
    return 1 if x.ndim > 1 and (ceiling.ndim == 1 or x.ndim != 3) else None


def sampled(x: Tensor, axis: int | None) -> Tensor:
    """`x` as [N, channels], or [N, 1]: all of it, or some positions."""
    rows = channel_rows(x, axis)
    return drawn(rows, max(FEWEST_VALUES, VALUES // len(rows))).T


def fitted_leak(
    currents: Tensor, wanted: Tensor, config: SpikingConfig
) -> tuple[Tensor, Tensor, Tensor]:
    """(v_threshold, gain, bias), each [C], for which `currents` give about `wanted`.

    Args:
        currents: of T steps, [T, N, C]; wanted: mean output, [N, C]; all over the ceiling.
    """
    first = rheobase(config)
    best = wanted.new_full(wanted.shape[1:], torch.inf)
    found = wanted.new_ones(3, *best.shape)
    for scales, shares in (COARSE, FINE):
        around = found[0]
        for scale, share in itertools.product(scales, shares):
            threshold = around * scale
            bias = threshold * (share * first)
            rate = response(currents, threshold, bias, config)
            power = rate.square().sum(0)
            gain = torch.where(power > 0, (rate * wanted).sum(0) / power, 1.0)
            error = (gain * rate - wanted).square().sum(0)
            found = torch.where(error < best, torch.stack([threshold, gain, bias]), found)
            best = best.minimum(error)
    return found[0], found[1], found[2]


def response(currents: Tensor, threshold: Tensor, bias: Tensor, config: SpikingConfig) -> Tensor:
    """Share of the T steps of `currents` [T, N, C] in which neurons fire, [N, C]."""
    cell = Potential(
        threshold, threshold, threshold, bias, len(currents), 0, config.leak, config.v_reset,
        config.start,
    )  # fmt: skip
    neuron, counts = PotentialNode(cell, signed=False), torch.zeros_like(currents[0])
    for current in currents:
        counts.add_(neuron(current))
    return counts.div_(len(currents))


def rheobase(config: SpikingConfig) -> float:
    """The smallest constant current, in thresholds, that fires within T steps."""
    kept = 1 - 1 / config.leak if config.leak is not None else 1.0
    needed, received = [], 0.0
    for step in range(1, config.timesteps + 1):
        received = received * kept + 1
        needed.append((1 - kept**step * config.start) / received)
    return min(needed)
