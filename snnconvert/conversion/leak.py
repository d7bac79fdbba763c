"""Leak compensation: threshold, gain and bias current of leaky neurons, fitted to their inputs.

A leaky neuron under a constant current x fires R((x + bias) / v_threshold) times in T steps, R a
staircase that is flat below the current that the leak just eats up. The fit takes the staircase
that, times the gain, is closest in mean square to the quantised clip that the layer replaces, over
the layer's own inputs: those that it gets from already fitted layers, against the activation that
the quantised network has there. Inputs of a running network fluctuate around their mean; what that
and the fit leave over is what `compare` reports as temporal error.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from typing import Any

import torch
from torch import Tensor

from snnconvert.conversion.config import SpikingConfig
from snnconvert.conversion.executor import Executor, Values
from snnconvert.conversion.program import Node, Program
from snnconvert.errors import InputError
from snnconvert.neurons.potential import Potential
from snnconvert.quantizer import along_channels, from_counts, to_counts

INPUTS = 256  # of the calibration batches; more would only cost memory
VALUES = 16_384  # per layer that the fit looks at
FEWEST = 64  # values a channel needs to have a threshold of its own
THRESHOLDS = torch.cat([torch.ones(1), torch.logspace(-0.9, 0.2, 32)])  # over the ceiling
BIASES = (0.0, 0.25, 0.5, 0.75, 0.95)  # over the current that just fires
BISECTIONS = 40


def fitted_names(neuron: str) -> dict[str, str]:
    """Names of the constants that hold the fit of a neuron layer."""
    return {key: f"{neuron}__{key}" for key in ("v_threshold", "gain", "bias")}


def staircase(config: SpikingConfig) -> Tensor:
    """Currents [T], in thresholds, from which on a neuron fires 1, 2, ... T times in T steps."""
    one, count = torch.ones((), dtype=torch.float64), torch.arange(1, config.timesteps + 1)
    low = torch.zeros(1, config.timesteps, dtype=torch.float64)
    high = torch.ones_like(low)  # a threshold a step: every step fires
    cell = Potential(
        one, one, one, one * 0, config.timesteps, 0, config.leak, config.v_reset, config.start
    )
    for _ in range(BISECTIONS):
        middle = (low + high) / 2
        reached = cell.final(middle) >= count
        low, high = torch.where(reached, low, middle), torch.where(reached, middle, high)
    return high[0]


def fit(x: Tensor, y: Tensor, ceiling: Tensor, steps: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """(v_threshold, gain, bias), each [C], of leaky neurons that map `x` to about `y`.

    Args:
        x, y: mean input and wanted output, [C, N].
        ceiling: [C]; steps: the staircase [T].
    """
    best = torch.full_like(ceiling, torch.inf)
    found = torch.stack([ceiling, ceiling, torch.zeros_like(ceiling)])
    steps = steps.to(x.dtype)
    for scale in THRESHOLDS.tolist():
        threshold = ceiling * scale
        level = x / threshold[:, None]
        for share in BIASES:
            bias = share * float(steps[0])
            rate = torch.bucketize(level + bias, steps, right=True).to(x.dtype) / len(steps)
            power = rate.square().sum(1)
            gain = torch.where(power > 0, (rate * y).sum(1) / power, ceiling)
            error = (gain[:, None] * rate - y).square().sum(1)
            better = error < best
            best = torch.where(better, error, best)
            new = torch.stack([threshold, gain, bias * threshold])
            found = torch.where(better, new, found)
    return found[0], found[1], found[2]


@torch.no_grad()
def compensate_leak(
    program: Program,
    constants: dict[str, Tensor],
    config: SpikingConfig,
    batches: Iterable[Sequence[Tensor]],
    per_channel: bool = True,
) -> dict[str, Tensor]:
    """Constants that hold the fit of every neuron layer, by the names of `fitted_names`.

    Args:
        program, constants: of the spiking network.
        batches: argument tuples of calls; the first 256 inputs are used.
        per_channel: a fit for each channel, where there are enough values, instead of each layer.

    Raises:
        InputError: no batches.
    """
    executor = Executor(program)
    clean = [executor.start(constants, batch) for batch in first_inputs(batches)]
    if not clean:
        raise InputError("calibration: no batches were given; give some of the network's inputs")
    leaky = [dict(values) for values in clean]
    steps = staircase(config)
    fits: dict[str, Tensor] = {}
    last = {name: node.name for node in program.nodes for name in node.refs}
    for node, run, _ in executor.dynamic:
        for values in (*clean, *leaky):
            if run is not None:
                values[node.name] = run(values)
        if run is None:
            fits |= fit_layer(node, constants[node.args[1]], clean, leaky, steps, per_channel)
        for name in set(node.refs):
            if last[name] == node.name and name not in constants:
                for values in (*clean, *leaky):
                    del values[name]
    return fits


def first_inputs(batches: Iterable[Sequence[Tensor]]) -> Iterator[Sequence[Tensor]]:
    """Batches until they hold `INPUTS` inputs."""
    seen = 0
    for batch in batches:
        if seen < INPUTS:
            seen += len(batch[0])
            yield batch
        else:
            return


def fit_layer(
    node: Node,
    ceiling: Tensor,
    clean: list[Values],
    leaky: list[Values],
    steps: Tensor,
    per_channel: bool,
) -> dict[str, Tensor]:
    """Fit one neuron layer and set its value in all of `clean` and `leaky`."""
    source, levels = node.args[0].name, len(steps)
    shape = clean[0][source].shape
    size = len(clean) * clean[0][source].numel() // shape[1]
    # axis 1 of [B, tokens, features] is no channel, unless the ceiling says so
    separate = ceiling.ndim == 1 or (per_channel and len(shape) != 3 and size >= FEWEST)
    for values in clean:
        counts = to_counts(values[source], ceiling, levels, 0, levels)
        values[node.name] = from_counts(counts, ceiling, levels)
    x, y = (sampled(rows, name) for rows, name in ((leaky, source), (clean, node.name)))
    top = ceiling.to(x.dtype).expand(len(x))
    if not separate:
        x, y, top = x.reshape(1, -1), y.reshape(1, -1), top[:1]
    results = fit(x, y, top, steps)
    threshold, gain, bias = (value if separate else value[0] for value in results)
    for values in leaky:
        mean = values[source]
        level = (mean + along_channels(bias, mean)) / along_channels(threshold, mean)
        fired = torch.bucketize(level, steps.to(mean.dtype), right=True).to(mean.dtype)
        values[node.name] = from_counts(fired, gain, levels)
    names: dict[str, Any] = fitted_names(node.name)
    return {names["v_threshold"]: threshold, names["gain"]: gain, names["bias"]: bias}


def sampled(rows: list[Values], name: str) -> Tensor:
    """Values of a node over all batches as [C, N], evenly thinned out."""
    channels = torch.cat([values[name].transpose(0, 1).flatten(1) for values in rows], dim=1)
    stride = max(1, channels.numel() // VALUES)
    return channels[:, ::stride].contiguous()
