"""Simulations of a spiking network: its clock really running, or one pass over spike counts.

All hold every value as a mean over time, so norms and other non-linear operations see what has
accumulated (`per_step` excepted, which reproduces the published SDM conversion).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor

from snnconvert.conversion.executor import Executor, Values
from snnconvert.conversion.program import Node, substitute
from snnconvert.neurons.counts import IF

Neurons = Mapping[str, IF]


@dataclass
class Run:
    """What one call of a spiking network did.

    Attributes:
        output: what the call returns.
        steps: clock steps taken (0 for a simulation by counts).
        silent: True where it ended because no neuron fired; None where it did not look.
        counts: signed spike count per neuron, by neuron name, each [B, ...].
        inputs: accumulated mean input per neuron, like `counts`.
        emitted: spikes of either sign per neuron, like `counts`; empty unless recorded.
        trains: int8 [steps, B, ...] per neuron layer; empty unless recorded.
        by_step: (output after the step, spikes in the step) per step; empty unless recorded.
    """

    output: Any
    steps: int = 0
    silent: bool | None = None
    counts: dict[str, Tensor] = field(default_factory=dict)
    inputs: dict[str, Tensor] = field(default_factory=dict)
    emitted: dict[str, Tensor] = field(default_factory=dict)
    trains: dict[str, Tensor] = field(default_factory=dict)
    by_step: list[tuple[Any, int]] = field(default_factory=list)


class Recorder:
    """Collects what a caller asked to know of a run; costs nothing where it asked for nothing."""

    def __init__(self, executor: Executor, record: str | None) -> None:
        self.executor = executor
        self.totals = record is not None
        self.whole_trains = record == "spikes"
        self.emitted: dict[str, Tensor] = {}
        self.rows: dict[str, list[Tensor]] = {node.name: [] for node in executor.neurons}
        self.by_step: list[tuple[Any, int]] = []
        self.fired = 0

    def spikes(self, name: str, spikes: Tensor) -> None:
        """One neuron layer fired `spikes` (-1, 0 or 1 each) in this step."""
        if not self.totals:
            return
        self.fired += int(torch.count_nonzero(spikes))
        magnitude = spikes.abs()
        self.emitted[name] = self.emitted[name] + magnitude if name in self.emitted else magnitude
        if self.whole_trains:
            self.rows[name].append(spikes.to(torch.int8))

    def rest(self, name: str, like: Tensor) -> None:
        """One neuron layer was not even looked at in this step."""
        if self.whole_trains:
            self.rows[name].append(torch.zeros_like(like, dtype=torch.int8))

    def end_step(self, output: Callable[[], Any]) -> None:
        if self.totals:
            self.by_step.append((output(), self.fired))
            self.fired = 0

    def finish(self, run: Run) -> Run:
        run.emitted, run.by_step = self.emitted, self.by_step
        if self.whole_trains:
            run.trains = {name: torch.stack(rows) for name, rows in self.rows.items() if rows}
        return run


def inputs_of(executor: Executor, values: Values) -> dict[str, Tensor]:
    """Mean input of every neuron layer at the end of a run."""
    return {node.name: values[node.args[0].name] for node in executor.neurons}


def by_counts(executor: Executor, values: Values, neurons: Neurons) -> Run:
    """One pass in which every neuron emits its final count at once.

    Exact wherever the clocked network is known to end there: deferred firing, and immediate signed
    firing at silence.
    """
    counts: dict[str, Tensor] = {}

    def neuron(node: Node, _fresh: bool) -> bool:
        cell = neurons[node.name]
        n = cell.target(values[node.args[0].name], cell.timesteps)
        counts[node.name] = n
        values[node.name] = cell.value(n, cell.timesteps)
        return True

    executor.step(values, neuron)
    return Run(executor.output(values), counts=counts, inputs=inputs_of(executor, values))


def immediate(
    executor: Executor,
    values: Values,
    neurons: Neurons,
    timesteps: int,
    settle: int | None,
    signed: bool,
    recorder: Recorder,
) -> Run:
    """Neurons fire in the step in which they integrate; `settle` input-free steps follow.

    settle: their number, or None for "until no neuron fires". Silence is reached after at most
    (range of a count) steps per neuron layer on the longest path, so the loop is bounded.
    """
    counts: dict[str, Tensor] = {}
    restless: set[str] = set()  # layers that fired in the latest step and may do so again
    step = 0

    def neuron(node: Node, fresh: bool) -> bool:
        name = node.name
        if not fresh and name not in restless:
            recorder.rest(name, counts[name])
            return False
        cell, steps = neurons[name], min(step, timesteps)
        target = cell.target(values[node.args[0].name], steps)
        n = counts[name] if name in counts else torch.zeros_like(target)
        spikes = cell.spikes(n, target, signed)
        counts[name] = n.add_(spikes)
        recorder.spikes(name, spikes)
        if step > timesteps and not any_spike(spikes):
            restless.discard(name)
            return False
        restless.add(name)
        values[name] = cell.value(n, steps)
        return True

    bound = timesteps + (settle if settle is not None else settling_bound(executor, neurons))
    silent = False
    while step < bound and not (settle is None and silent):
        step += 1
        executor.step(values, neuron, changed=set() if step > timesteps else None)
        recorder.end_step(lambda: executor.output(values))
        silent = step > timesteps and not restless
    run = Run(executor.output(values), step, silent, counts, inputs_of(executor, values))
    return recorder.finish(run)


def any_spike(spikes: Tensor) -> bool:
    """Whether a layer fired. (A sum of magnitudes: several times faster than `any` on a CPU.)"""
    return bool(spikes.abs().sum() > 0)


def settling_bound(executor: Executor, neurons: Neurons) -> int:
    """Settle steps that always suffice: once its input rests, a layer needs its count's range."""
    ranges = [cell.timesteps - cell.lowest for cell in neurons.values()]
    return 1 + max(ranges, default=0) * max(depths(executor).values(), default=0)


def depths(executor: Executor) -> dict[str, int]:
    """Neuron layers on the longest path up to and including each node (1 = first layer)."""
    found: dict[str, int] = {}
    for node, run, _ in executor.dynamic:
        before = max((found.get(name, 0) for name in node.refs), default=0)
        found[node.name] = before + (run is None)
    return found


def deferred(
    executor: Executor, values: Values, neurons: Neurons, timesteps: int, recorder: Recorder
) -> Run:
    """Every neuron integrates for T steps and then fires for T steps, layer after layer.

    In window w (T clock steps) the layers of depth w fire; what they reach integrates. A spike
    that comes early over a skip connection waits in the membrane of its target.
    """
    depth = depths(executor)
    last = max((depth[node.name] for node in executor.neurons), default=0)
    counts: dict[str, Tensor] = {}
    targets: dict[str, Tensor] = {}
    window = within = 0

    def neuron(node: Node, _fresh: bool) -> bool:
        name, cell = node.name, neurons[node.name]
        if window == 0:  # at rest: nothing has been emitted
            shape = values[node.args[0].name]
            counts[name] = torch.zeros_like(shape)
            values[name] = cell.value(counts[name], timesteps)
            return True
        if depth[name] != window:
            recorder.rest(name, counts[name])
            return False
        if within == 1:
            targets[name] = cell.target(values[node.args[0].name], timesteps)
        spikes = cell.spikes(counts[name], targets[name], signed=False)
        counts[name].add_(spikes)
        recorder.spikes(name, spikes)
        values[name] = cell.value(counts[name], timesteps)
        return any_spike(spikes)

    executor.step(values, neuron)
    for window in range(1, last + 1):  # noqa: B007 (read by `neuron`)
        for within in range(1, timesteps + 1):  # noqa: B007
            executor.step(values, neuron, changed=set())
            recorder.end_step(lambda: executor.output(values))
    steps = timesteps * (last + 1)  # the first T steps present the input
    return recorder.finish(
        Run(executor.output(values), steps, None, counts, inputs_of(executor, values))
    )


def per_step(
    executor: Executor,
    values: Values,
    neurons: Neurons,
    timesteps: int,
    signed: bool,
    recorder: Recorder,
) -> Run:
    """The published SDM conversion: norms and all else see the current of each single step.

    Potentials are added up step by step, the output is the mean over the steps. Kept so that its
    error can be measured; it does not vanish with T.
    """
    charge: dict[str, Tensor] = {}  # sum of the input currents
    counts: dict[str, Tensor] = {}

    def neuron(node: Node, _fresh: bool) -> bool:
        name, cell = node.name, neurons[node.name]
        current = values[node.args[0].name]
        charge[name] = charge[name] + current if name in charge else current
        target = cell.target(charge[name] / timesteps, timesteps)
        n = counts.get(name, torch.zeros((), dtype=current.dtype))
        spikes = cell.spikes(n, target, signed)
        counts[name] = n + spikes
        recorder.spikes(name, spikes)
        values[name] = cell.value(spikes, 1)
        return True

    total: dict[str, Tensor] = {}
    for step in range(1, timesteps + 1):
        executor.step(values, neuron)
        for name in executor.output_names:
            total[name] = total[name] + values[name] if step > 1 else values[name]

        def mean(steps: int = step) -> Any:
            return substitute(executor.program.output, lambda ref: total[ref.name] / steps)

        recorder.end_step(mean)
    inputs = {name: value / timesteps for name, value in charge.items()}
    return recorder.finish(Run(mean(), timesteps, None, counts, inputs))
