"""Thresholds, start potentials, rates and spike trains of chosen layers, as named arrays."""

from __future__ import annotations

import csv
import io
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from fnmatch import fnmatchcase
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray

from snnconvert.common.checks import checked_integer
from snnconvert.conversion.spiking.network import SpikingNetwork, converted
from snnconvert.errors import InputError
from snnconvert.files.atomic import Writer
from snnconvert.operators.clip import along_channels, v_init_over
from snnconvert.report.trials.calls import Call, calls_in, few

Array = NDArray[np.generic]


@dataclass(frozen=True)
class LayerSpikes:
    """What the neurons of one layer did.

    Attributes:
        thresholds, start_potentials: of each neuron, in its own units; [N...] of one input, or
            [B, N...] where thresholds depend on t.
        rates: spikes of either sign per timestep of the input, mean over the inputs, [N...].
        counts: signed count of each input's neurons, [B, N...] (of weights under the radix code).
        trains: int8 [steps, B, N...] of -1, 0, 1; shorter calls end in zeros.
    """

    thresholds: Array
    start_potentials: Array
    rates: Array
    counts: Array
    trains: Array

    def arrays(self) -> dict[str, Array]:
        """By name."""
        return dict(vars(self))


def chosen_layers(network: SpikingNetwork, patterns: Sequence[str]) -> list[str]:
    """The neuron layers that `patterns` name, in order.

    Raises:
        InputError: a pattern that names none.
    """
    layers = list(network.neurons)
    for pattern in patterns:
        if not any(fnmatchcase(name, pattern) for name in layers):
            known = ", ".join(layers[:6])
            raise InputError(
                f"layer {pattern!r}: there is none; the {len(layers)} neuron layers are {known}"
                f"{', ...' if len(layers) > 6 else ''}"
            )
    return [name for name in layers if any(fnmatchcase(name, pattern) for pattern in patterns)]


@torch.no_grad()
def record_spikes(
    network: SpikingNetwork, batches: Iterable[object], layers: Sequence[str] | None = None,
    *, inputs: int = 16,
) -> dict[str, LayerSpikes]:  # fmt: skip
    """What the neurons of some layers do, by the layers' names.

    Args:
        batches: arguments of one call each, batch first.
        layers: their names (see `chosen_layers`); None: all of them.
        inputs: how many of the first inputs are recorded.

    Raises:
        InputError: no inputs, or of another form than the network takes.
    """
    inputs = checked_integer("spike inputs", inputs, 1)
    snn = converted(network).with_config(simulate="steps", reset="call")
    names = list(snn.neurons) if layers is None else list(layers)
    parts: dict[str, list[LayerSpikes]] = {name: [] for name in names}
    for call in few(snn.program, calls_in(snn.program, batches), inputs):
        for name, found in _recorded(snn, call, names):
            parts[name].append(found)
    return {name: joined(recorded) for name, recorded in parts.items()}


def _recorded(
    snn: SpikingNetwork, call: Call, names: Sequence[str]
) -> Iterator[tuple[str, LayerSpikes]]:  # fmt: skip
    args, kwargs = call
    run = snn.run(*args, record="spikes", **kwargs)
    for name in names:
        cell, counts = run.neurons[name], run.counts[name]
        theta = along_channels(cell.v_threshold, counts)
        own = theta.ndim == counts.ndim and len(theta) > 1  # thresholds of each input
        start = theta * v_init_over(cell.v_init, counts)
        laid = [value.expand_as(counts) for value in (theta, start)]
        if not own:
            laid = [value[0] for value in laid]
        train = run.trains[name]
        rates = train.abs().double().sum(0) / snn.config.timesteps
        fired = [v.cpu().numpy().copy() for v in (*laid, rates.float(), counts, train)]
        yield name, LayerSpikes(fired[0], fired[1], fired[2], fired[3], fired[4])


def joined(parts: Sequence[LayerSpikes]) -> LayerSpikes:
    """Several calls as one; rates become their mean over the inputs."""
    steps = max(len(part.trains) for part in parts)
    trains = [np.pad(p.trains, [(0, steps - len(p.trains)), *[(0, 0)] * (p.trains.ndim - 1)])
              for p in parts]  # fmt: skip
    own = parts[0].thresholds.ndim == parts[0].counts.ndim  # thresholds of each input

    def fixed(each: Sequence[Array]) -> Array:
        return np.concatenate(each) if own else each[0]

    theta, start = [p.thresholds for p in parts], [p.start_potentials for p in parts]
    rates = np.concatenate([p.rates for p in parts])
    counts = np.concatenate([p.counts for p in parts])
    every = np.concatenate(trains, 1)
    return LayerSpikes(fixed(theta), fixed(start), rates.mean(0), counts, every)


def spike_writers(
    found: Mapping[str, LayerSpikes], page: Path
) -> dict[str | Path, Writer]:  # fmt: skip
    """What writes `<page>.spikes.npz` (arrays `LAYER/thresholds`, ...), and two tables: a row a
    neuron in `.neurons.csv`, a row a spike in `.spikes.csv`."""
    arrays = {f"{layer}/{key}": value for layer, one in found.items()
              for key, value in one.arrays().items()}  # fmt: skip
    tables = {
        page.with_suffix(".neurons.csv"): neuron_rows(found),
        page.with_suffix(".spikes.csv"): spike_rows(found),
    }
    writers: dict[str | Path, Writer] = {
        page.with_suffix(".spikes.npz"): lambda file: np.savez_compressed(file, **arrays)  # type: ignore[arg-type]
    }
    for path, rows in tables.items():
        text = io.StringIO()
        csv.writer(text, lineterminator="\n").writerows(rows)
        content = text.getvalue().encode()
        writers[path] = lambda file, content=content: file.write(content)  # type: ignore[misc]
    return writers


def neuron_rows(found: Mapping[str, LayerSpikes]) -> Iterator[Sequence[object]]:
    """A header and a row for each neuron; of thresholds over t, those of the first input."""
    yield "layer", "neuron", "threshold", "start_potential", "rate", "mean_count"
    for layer, one in found.items():
        own = one.thresholds.ndim == one.counts.ndim
        theta, start = (v[0] if own else v for v in (one.thresholds, one.start_potentials))
        columns = (theta, start, one.rates, one.counts.mean(0))
        for number, values in enumerate(zip(*(c.ravel().tolist() for c in columns), strict=True)):
            yield layer, number, *values


def spike_rows(found: Mapping[str, LayerSpikes]) -> Iterator[Sequence[object]]:
    """A header and a row for each spike; inputs and neurons from 0, steps from 1."""
    yield "layer", "input", "step", "neuron", "sign"
    for layer, one in found.items():
        trains = one.trains.reshape(*one.trains.shape[:2], -1)
        for step, row, neuron in np.argwhere(trains).tolist():
            yield layer, row, step + 1, neuron, int(trains[step, row, neuron])
