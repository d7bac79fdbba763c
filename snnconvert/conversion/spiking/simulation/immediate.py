"""Immediate firing: neurons fire in the step in which they integrate."""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor

from snnconvert.conversion.graph.program import Node
from snnconvert.conversion.spiking.simulation.depth import settling_bound
from snnconvert.conversion.spiking.simulation.recorder import Call, Run, any_spike


def immediate(
    call: Call,
    settle: int | None,
    signed: bool,
    carried: Mapping[str, Tensor] | None = None,
    lean: bool = False,
) -> Run:
    """T steps with the input, then `settle` input-free steps.

    A step runs through the layers in order, so a neuron has seen all that its step brings when it
    fires. Where the potential that it keeps lies inside the band in which it does not fire, for
    every neuron of every layer, nothing can happen in the next step: that one would be silent, and
    need not be run.

    Args:
        settle: their number, or None for "until no neuron has anything left to fire". That is
            after at most (range of a count) steps per neuron layer on the longest path, so the
            loop is bounded.
        carried: counts in which an earlier call ended; the run goes on from there, with all T
            input steps behind it, and the new input arrives as a change of the mean.
        lean: only the output is wanted; memory does not hold every layer's values at once where
            the number of steps is fixed.
    """
    clock = Clock(call, settle, signed, carried)
    while clock.step < clock.bound and not clock.silent:
        clock.step += 1
        clock.passing = clock.early or (lean and clock.last and not clock.rests)
        call.executor.step(
            call.values, clock.neuron, changed=set() if clock.rests else None, drop=clock.passing
        )
        call.recorder.end_step(call.output)
    if clock.passing:
        return Run(call.output(), clock.step, None, clock.counts)
    return call.end(clock.step, clock.silent if settle is None else None, clock.counts)


class Clock:
    """A call in progress: which step it is in, and every neuron's count.

    Attributes:
        step: the present one, from 1.
        bound: the largest.
        counts: by neuron name; changed in place.
        restless: layers with neurons that would fire again in the next step.
        passing: whether nobody wants this step's values after it.
    """

    def __init__(
        self, call: Call, settle: int | None, signed: bool, carried: Mapping[str, Tensor] | None
    ) -> None:
        self.call, self.settle, self.signed = call, settle, signed
        self.behind = 0 if carried is None else call.timesteps  # input steps before the first
        self.currents = call.executor.currents
        self.step = 0
        self.bound = call.timesteps - self.behind
        self.bound += (
            settling_bound(call.executor, call.neurons) if settle is None else settle
        )  # fmt: skip
        self.counts = {name: n.clone() for name, n in (carried or {}).items()}
        if self.counts:
            call.recorder.carry(self.counts)
        self.restless: set[str] = set()
        self.passing = False

    @property
    def early(self) -> bool:
        """Whether input is still to come: then the next step computes every value anew."""
        return self.step + self.behind < self.call.timesteps

    @property
    def rests(self) -> bool:
        """Whether the input is what it was in the step before."""
        return self.step + self.behind > self.call.timesteps and self.step > 1

    @property
    def last(self) -> bool:
        """Whether there is certainly no further step."""
        return self.settle is not None and self.step == self.bound

    @property
    def silent(self) -> bool:
        """Whether a further step would be: asked only where silence ends the call."""
        return self.settle is None and self.step > 0 and not self.early and not self.restless

    def neuron(self, node: Node, fresh: bool) -> bool:
        """One layer fires once; whether its value changed."""
        name, values, recorder = node.name, self.call.values, self.call.recorder
        if not fresh and name not in self.restless:
            recorder.rest(name, self.counts[name])
            return False
        cell, seen = self.call.neurons[name], min(self.step + self.behind, self.call.timesteps)
        mean, n = values[self.currents[name]], self.counts.get(name)
        asked = not (self.early or self.last)  # whether the next step depends on who fires
        undefined = mean.isnan() if name in self.call.executor.waiting else None
        if undefined is None and not asked and not recorder.tally:
            reuse = self.passing and name in self.call.executor.sole_readers
            self.counts[name], values[name] = cell.advance(mean, n, seen, self.signed, reuse)
            return True
        n = self.counts[name] = torch.zeros_like(mean) if n is None else n
        missing = cell.target(mean, seen).sub_(n)
        if undefined is not None:  # nothing to fire for; silence shows whether that remains
            missing.masked_fill_(undefined, 0)
        spikes = cell.allowed(missing, self.signed)
        fired = asked and any_spike(spikes, n)
        n.add_(spikes)
        recorder.spikes(name, spikes)
        if asked:
            self.restless.discard(name)
            if fired and any_spike(cell.allowed(missing.sub_(spikes), self.signed), n):
                self.restless.add(name)
            if undefined is None and not fired and self.rests and name in values:
                return False
        value = cell.value(n, seen)
        values[name] = value if undefined is None else value.masked_fill(undefined, torch.nan)
        return True
