"""One input of a spiking network, neuron by neuron: spikes and potentials of chosen layers."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from snnconvert.conversion.spiking.network import SpikingNetwork
from snnconvert.report.measures.replay import can_replay, longest, potentials_of
from snnconvert.report.trials.calls import Call, few

SHOWN = 24  # neurons of a layer whose spikes are shown
TRACED = 3  # of them with their potential


@torch.no_grad()
def example_run(
    network: SpikingNetwork, call: Call, layers: Sequence[str]
) -> list[dict[str, Any]] | None:
    """A row for each layer: what some of its neurons did for one input, step by step.

    None where the network cannot be run so (one of a fixed batch, or norms on single steps).

    Args:
        call: whose first input is taken.
        layers: names of neuron layers.

    Returns:
        `layer`, `steps`, `neurons` (their numbers), `spikes` ([row, step, sign] each) and
        `potentials` (in thresholds, a list a traced neuron, before it fires; None where potentials
        are not told by counts).
    """
    snn = network.with_config(simulate="steps", reset="call")
    if not snn.program.batch_inputs:
        return None
    args, kwargs = few(snn.program, [call], 1)[0]
    run = snn.run(*args, record="spikes", **kwargs)
    inputs = snn.program.bind(args, kwargs)
    traced = potentials_of(snn, inputs, run, layers) if can_replay(snn) else {}
    rows = []
    for name in layers:
        train = run.trains.get(name)
        if train is None:
            continue
        train = train[:, 0].reshape(len(train), -1)
        chosen = chosen_neurons(train)
        when = train[:, chosen].T.nonzero()
        spikes = [[row, step + 1, int(train[step, chosen[row]])] for row, step in when.tolist()]
        potentials = None
        if name in traced:
            v = traced[name][:, 0].reshape(len(traced[name]), -1)
            potentials = [[round(x, 4) for x in v[:, n].tolist()]
                          for n in spread(chosen, TRACED)]  # fmt: skip
        rows.append({
            "layer": name, "steps": longest(run.trains), "timesteps":
            snn.config.timesteps, "neurons": chosen, "spikes": spikes,
            "traced": spread(chosen, TRACED) if potentials else [], "potentials": potentials,
        })  # fmt: skip
    return rows


def chosen_neurons(train: Tensor) -> list[int]:
    """Neurons of [steps, N] from the quietest that fired to the busiest, evenly spread."""
    fired = train.abs().sum(0)
    alive = fired.nonzero().flatten()
    order = alive[fired[alive].argsort(stable=True)]
    if len(order) == 0:
        return list(range(min(SHOWN, train.shape[1])))
    return spread(order.tolist(), SHOWN)


def spread(items: Sequence[int], count: int) -> list[int]:
    """`count` of them at most, evenly spread, the first and the last among them."""
    if len(items) <= count:
        return list(items)
    return [items[round(i * (len(items) - 1) / (count - 1))] for i in range(count)]
