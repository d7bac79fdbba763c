"""One call of a spiking network while it runs, and what it leaves behind."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from typing import Any

import torch
from torch import Tensor

from snnconvert.conversion.execution.executor import Executor, Values
from snnconvert.conversion.spiking.simulation.relay import Relay


@dataclass
class Run:
    """What one call of a spiking network did.

    Attributes:
        output: what the call returns.
        steps: clock steps taken (0 for a simulation by counts).
        silent: True where it ended because no neuron had anything left to fire; None where it
            did not look.
        counts: signed count per neuron (of spikes; of their weights under the radix code), by
            the name of the layer, each [B, ...].
        inputs: accumulated mean input per neuron, like `counts`.
        emitted: spikes of either sign per neuron, like `counts`; empty unless recorded.
        relayed: spikes that operations such as a max pool made of those, by the operation's name.
        trains: int8 [steps, B, ...] per neuron layer; empty unless recorded.
        neurons: the cells that fired, by the name of the layer.
        by_step: (output after the step, spikes in the step) per step; empty unless recorded.
        last_spikes: the step in which each row's neurons fired last (0: never); None unless
            recorded, and where layers hold different numbers of rows.
    """

    output: Any
    steps: int = 0
    silent: bool | None = None
    counts: dict[str, Tensor] = field(default_factory=dict)
    inputs: dict[str, Tensor] = field(default_factory=dict)
    emitted: dict[str, Tensor] = field(default_factory=dict)
    relayed: dict[str, Tensor] = field(default_factory=dict)
    trains: dict[str, Tensor] = field(default_factory=dict)
    neurons: Mapping[str, Any] = field(default_factory=dict)
    by_step: list[tuple[Any, int]] = field(default_factory=list)
    last_spikes: Tensor | None = None

    def named(self, names: Mapping[str, str]) -> Run:
        """The run of a network with its layers under other names."""

        def renamed(found: Mapping[str, Any]) -> dict[str, Any]:
            return {names[name]: value for name, value in found.items()}

        return replace(
            self, counts=renamed(self.counts), inputs=renamed(self.inputs),
            emitted=renamed(self.emitted), trains=renamed(self.trains),
            neurons=renamed(self.neurons),
        )  # fmt: skip


class Recorder:
    """Collects what a caller asked to know of a run; costs nothing where it asked for nothing.

    Args:
        executor: of the network.
        record: None, "counts" (spikes per neuron, output by step) or "spikes" (whole trains too).
        tally: count the spikes of the whole call even where nothing else is recorded.
    """

    def __init__(self, executor: Executor, record: str | None, tally: bool = False) -> None:
        self.executor = executor
        self.totals = record is not None
        self.whole_trains = record == "spikes"
        self.tally = tally or self.totals
        self.emitted: dict[str, Tensor] = {}
        self.rows: dict[str, list[Tensor]] = {node.name: [] for node in executor.neurons}
        self.by_step: list[tuple[Any, int]] = []
        self.last_spikes: dict[str, Tensor] = {}
        self.fired = 0  # spikes of the call so far
        self.before = 0  # those of earlier steps
        self.relay: Relay | None = None

    def begin(self, values: Values, cells: Mapping[str, Any], sums: bool) -> None:
        """A call with these fixed values and neurons begins; `sums` as in `Relay`."""
        if self.totals:
            self.relay = Relay(self.executor, values, cells, sums)

    def carry(self, counts: Mapping[str, Tensor]) -> None:
        """The call goes on from the counts of an earlier one."""
        if self.relay is not None:
            self.relay.carry(counts)

    def spikes(self, name: str, spikes: Tensor, weight: int = 1) -> None:
        """One neuron layer fired `spikes` (-1, 0 or 1 each), of this weight, in this step."""
        if not self.tally:
            return
        if not self.totals:
            self.fired += int(torch.count_nonzero(spikes))
            return
        if self.relay is not None:
            self.relay.add(name, spikes, weight)
        row = spikes.shape[1:].numel()  # 1 where an input has one neuron
        by_row = torch.count_nonzero(spikes.reshape(len(spikes), row), 1)
        self.fired += int(by_row.sum())
        last = (by_row > 0).long() * (len(self.by_step) + 1)
        self.last_spikes[name] = torch.maximum(last, self.last_spikes.get(name, last))
        magnitude = spikes.abs().to(torch.promote_types(spikes.dtype, torch.float32))
        self.emitted[name] = self.emitted[name] + magnitude if name in self.emitted else magnitude
        if self.whole_trains:
            self.rows[name].append(spikes.to(torch.int8))

    def rest(self, name: str, like: Tensor) -> None:
        """One neuron layer was not even looked at in this step."""
        if self.relay is not None:
            self.relay.rest(name, like)
        if self.whole_trains:
            self.rows[name].append(torch.zeros_like(like, dtype=torch.int8))

    def end_step(self, output: Callable[[], Any]) -> None:
        if self.relay is not None:
            self.relay.end_step()
        if self.totals:
            self.by_step.append((output(), self.fired - self.before))
            self.before = self.fired

    def finish(self, run: Run) -> Run:
        run.emitted, run.by_step = self.emitted, self.by_step
        by_layer = list(self.last_spikes.values())
        if len({len(rows) for rows in by_layer}) == 1:
            run.last_spikes = torch.stack(by_layer).amax(0)
        run.relayed = {} if self.relay is None else self.relay.emitted
        if self.whole_trains:
            run.trains = {name: torch.stack(rows) for name, rows in self.rows.items() if rows}
        return run


@dataclass
class Call:
    """A call in progress.

    Attributes:
        executor, neurons: of the network; neurons are the cells of `snnconvert.neurons`, of the
            kind that the simulation runs.
        values: every constant, input and static value; the simulation adds the rest.
        timesteps: T.
        recorder: where the simulation reports its spikes.
        sums: whether an operation sees what has accumulated; else each step by itself.
    """

    executor: Executor
    values: Values
    neurons: Mapping[str, Any]
    timesteps: int
    recorder: Recorder
    sums: bool = True

    def __post_init__(self) -> None:
        self.recorder.begin(self.values, self.neurons, self.sums)

    def output(self) -> Any:
        return self.executor.output(self.values)

    def inputs(self) -> dict[str, Tensor]:
        """Mean input of every neuron layer so far."""
        return {name: self.values[current] for name, current in self.executor.currents.items()}

    def end(self, steps: int, silent: bool | None, counts: dict[str, Tensor]) -> Run:
        """The finished run."""
        return self.recorder.finish(Run(self.output(), steps, silent, counts, self.inputs()))


def any_spike(spikes: Tensor, counts: Tensor | None = None) -> bool:
    """Whether a layer fires; not-a-number counts as a spike, so that one bad input stops no other.

    (A sum of magnitudes: several times faster than `any` on a CPU.)

    Args:
        counts: before these spikes. Where they are no numbers already, nothing can come of a
            spike any more, and it does not count: else a bad input would run until the bound.
    """
    size = float(torch.linalg.vector_norm(spikes, 1))
    if counts is None or not math.isnan(size):
        return size != 0
    return bool(((spikes != 0) & ~counts.isnan()).any())
