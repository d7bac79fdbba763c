"""Immediate firing: neurons fire in the step in which they integrate."""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor

from snnconvert.conversion.program import Node
from snnconvert.conversion.simulation.depth import settling_bound
from snnconvert.conversion.simulation.recorder import Call, Run, any_spike


def immediate(
    call: Call, settle: int | None, signed: bool, carried: Mapping[str, Tensor] | None = None
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
    """
    counts = {name: n.clone() for name, n in (carried or {}).items()}
    behind = 0 if carried is None else call.timesteps
    restless: set[str] = set()  # layers with neurons that would fire again in the next step
    values, recorder, timesteps = call.values, call.recorder, call.timesteps
    step = 0

    def neuron(node: Node, fresh: bool) -> bool:
        name = node.name
        if not fresh and name not in restless:
            recorder.rest(name, counts[name])
            return False
        cell, seen = call.neurons[name], min(step + behind, timesteps)
        target = cell.target(values[node.args[0].name], seen)
        n = counts[name] if name in counts else torch.zeros_like(target)
        missing = target.sub_(n)
        early = step + behind < timesteps  # then all layers run in the next step anyway
        spikes = cell.allowed(missing, signed, missing if early else None)
        counts[name] = n.add_(spikes)
        recorder.spikes(name, spikes)
        if not early and (settle is None or step < bound):  # in a last step nobody asks
            fired = any_spike(spikes)
            restless.discard(name)
            if fired and any_spike(cell.allowed(missing.sub_(spikes), signed)):
                restless.add(name)
            if not fired and step + behind > timesteps and name in values:
                return False
        values[name] = cell.value(n, seen)
        return True

    bound = timesteps - behind
    bound += settle if settle is not None else settling_bound(call.executor, call.neurons)
    silent = False
    while step < bound and not (settle is None and silent):
        step += 1
        rests = step + behind > timesteps and step > 1  # the input is what it was
        again = step + behind < timesteps  # the next step computes every value anew
        call.executor.step(values, neuron, changed=set() if rests else None, drop=again)
        recorder.end_step(call.output)
        silent = step + behind >= timesteps and not restless
    return call.end(step, silent if settle is None else None, counts)
