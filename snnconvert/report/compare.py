"""Hold a converted network against its ANN on the same inputs and say what was lost, and where."""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any

import torch
from torch import Tensor, nn
from torch.utils import _pytree as pytree

from snnconvert.checkpoint import write_atomically
from snnconvert.conversion.network import SpikingNetwork
from snnconvert.conversion.simulation import Run
from snnconvert.errors import InputError
from snnconvert.report.cost import Cost, count_cost
from snnconvert.report.layers import LayerErrors
from snnconvert.report.probe import QuantizerProbe
from snnconvert.report.timing import seconds_per_call

TIMED_IMAGES = 16


@dataclass(frozen=True)
class ConversionReport:
    """What `compare` found. `to_dict()` has the stable keys that the README lists."""

    content: dict[str, Any]

    def to_dict(self) -> dict[str, Any]:
        return self.content

    def extended(self, **parts: Any) -> ConversionReport:
        """The report with more keys."""
        return ConversionReport({**self.content, **parts})

    def save(self, path: str | Path) -> None:
        """Write the report as JSON, atomically."""
        write_atomically(path, self.write)

    def write(self, file: IO[bytes]) -> None:
        """Write the report as JSON into an open file."""
        file.write((json.dumps(self.content, indent=1, allow_nan=False) + "\n").encode())


class Difference:
    """Accumulates how far one output is from another."""

    def __init__(self) -> None:
        self.square = self.scale = self.largest = 0.0
        self.equal = True

    def add(self, found: Any, wanted: Any) -> None:
        for a, b in zip(pytree.tree_leaves(found), pytree.tree_leaves(wanted), strict=True):
            if not (bool(a.isfinite().all()) and bool(b.isfinite().all())):
                raise InputError(
                    "compare: a network returned values that are not finite; check its weights "
                    "and the inputs"
                )
            gap = (a.double() - b.double()).abs()
            self.square += gap.square().sum().item()
            self.scale += b.double().square().sum().item()
            self.largest = max(self.largest, gap.max().item())
            self.equal &= torch.equal(a, b)

    @property
    def relative(self) -> float:
        return (self.square / self.scale) ** 0.5 if self.scale else self.square**0.5

    def to_dict(self) -> dict[str, Any]:
        return {
            "relative_error": self.relative,
            "max_abs_error": self.largest,
            "bit_equal": self.equal,
        }


@torch.no_grad()
def compare(
    ann: nn.Module,
    snn: SpikingNetwork,
    batches: Iterable[Sequence[Tensor]],
    *,
    float_ann: nn.Module | None = None,
) -> ConversionReport:
    """The conversion report.

    Args:
        ann: the quantised network that `snn` was converted from. It is run as the quantised ANN of
            `levels` (T; 2^T - 1 under the radix code), whatever it was trained with.
        snn: the converted network.
        batches: argument tuples of one call each, batch first, e.g. `(x, t)`.
        float_ann: the float network, for `output_ann` and its time.

    Raises:
        InputError: no batches, or `snn` was not converted from `ann`.
    """
    networks = [network for network in (ann, float_ann) if network is not None]
    were_training = [network.training for network in networks]
    for network in networks:
        network.eval()
    try:
        return _Comparison(ann, snn, float_ann).over([tuple(batch) for batch in batches])
    finally:
        for network, was_training in zip(networks, were_training, strict=True):
            network.train(was_training)


class _Comparison:
    def __init__(self, ann: nn.Module, snn: SpikingNetwork, float_ann: nn.Module | None) -> None:
        self.ann, self.snn = ann, snn
        self.float_ann = float_ann
        self.clocked = snn.with_config(simulate="steps", reset="call")
        self.classic = classic_pipeline(snn)
        self.layers = [
            LayerErrors(snn.layers[name], snn.config.neuron, cell, snn.config.timesteps)
            for name, cell in snn.neurons.items()
        ]
        self.output, self.output_ann = Difference(), Difference()
        self.classic_output = Difference()
        self.classic_steps: list[int] = []
        self.classic_spikes = self.classic_counts = 0.0
        self.outputs: list[tuple[list[tuple[Any, int]], Any]] = []  # by step, and what was wanted
        self.steps = 0
        self.cost = Cost()
        self.images = 0

    def over(self, batches: Sequence[Sequence[Tensor]]) -> ConversionReport:
        if not batches:
            raise InputError("compare: no batches were given")
        for batch in batches:
            self._add(batch)
        config = self.snn.config
        neurons = sum(layer.sums["neurons"] for layer in self.layers)
        mismatched = sum(layer.sums["mismatched"] for layer in self.layers)
        return ConversionReport({
            "timesteps": config.timesteps,
            "levels": config.levels,
            "firing": config.firing,
            "code": config.code,
            "signed": config.signed,
            "settle": "auto" if config.settle is None else config.settle,
            "norm": config.norm,
            "neuron": config.neuron,
            "tau": config.leak,
            "v_reset": config.v_reset,
            "v_init": config.start,
            "reset": config.reset,
            "images": self.images,
            "latency_steps": self.steps,
            "output": self.output.to_dict(),
            "output_ann": self.output_ann.to_dict() if self.float_ann is not None else None,
            "counts": {"mismatched_fraction": mismatched / neurons},
            "layers": [layer.to_dict() for layer in self.layers],
            "layers_add_up": all(layer.adds_up for layer in self.layers),
            "cost": self.cost.to_dict(config.levels),
            "timing": self._timing([value[:TIMED_IMAGES] for value in batches[0]]),
            "immediate": self._immediate(),
            "by_step": self._by_step(),
        })  # fmt: skip

    def _immediate(self) -> dict[str, Any] | None:
        if self.classic is None:
            return None
        return {
            "steps_to_silence": max(self.classic_steps),
            "spikes_per_count": self.classic_spikes / max(self.classic_counts, 1.0),
            "bit_equal": self.classic_output.equal,
        }

    def _add(self, batch: Sequence[Tensor]) -> None:
        probe = QuantizerProbe(self.snn.config.levels)
        with probe:
            wanted = self.ann(*batch)
        run = self.clocked.run(*batch, record="counts")
        if [tuple(x.shape) for x, _ in probe.seen] != [tuple(v.shape) for v in run.counts.values()]:
            raise InputError("compare: the spiking network was not converted from this ANN")
        for layer, (a, q), name in zip(self.layers, probe.seen, run.counts, strict=True):
            layer.add(a, q, run.inputs[name], run.counts[name], run.emitted[name])
        found = run.output if self.snn.config == self.clocked.config else self.snn(*batch)
        self.output.add(found, wanted)
        if self.float_ann is not None:
            self.output_ann.add(found, self.float_ann(*batch))
        self.steps = max(self.steps, run.steps)
        if self.classic is not None:
            same = self.classic.config == self.clocked.config
            classic = run if same else self.classic.run(*batch, record="counts")
            self.classic_output.add(classic.output, wanted)
            self.classic_steps.append(classic.steps)
            self.classic_spikes += sum(v.sum().item() for v in classic.emitted.values())
            self.classic_counts += sum(v.abs().sum().item() for v in classic.counts.values())
        self.outputs.append((run.by_step, wanted))
        self._add_cost(batch, run)

    def _add_cost(self, batch: Sequence[Tensor], run: Run) -> None:
        """Mean over all images so far of what a call costs."""
        new = count_cost(self.clocked, batch, run.emitted, run.steps)
        self.images += len(batch[0])
        share = len(batch[0]) / self.images
        for name, value in vars(new).items():
            old = getattr(self.cost, name)
            setattr(self.cost, name, old + share * (value - old))

    def _by_step(self) -> list[dict[str, float]]:
        """Error and spikes per image after each step; a batch that has ended stays as it is."""
        rows = []
        longest = max(len(steps) for steps, _ in self.outputs)
        for index in range(longest):
            difference, spikes = Difference(), 0
            for steps, wanted in self.outputs:
                difference.add(steps[min(index, len(steps) - 1)][0], wanted)
                spikes += steps[index][1] if index < len(steps) else 0
            first = self.steps - longest  # deferred: the first T steps fire nothing
            rows.append({
                "step": first + index + 1,
                "relative_error": difference.relative,
                "spikes": spikes / self.images,
            })  # fmt: skip
        return rows

    def _timing(self, inputs: Sequence[Tensor]) -> dict[str, Any]:
        stepped = self.classic.with_config(settle=0) if self.classic else self.clocked
        calls = {
            "qann_s": lambda: self.ann(*inputs),
            "step_s": lambda: stepped(*inputs),
        }
        base = self.classic or self.snn
        if base.config.held_as_counts or base.config.firing == "deferred":
            counts = base.with_config(simulate="counts", reset="call")
            calls["counts_s"] = lambda: counts(*inputs)
        if self.float_ann is not None:
            calls["ann_s"] = lambda: self.float_ann(*inputs)  # type: ignore[misc]
        seconds = seconds_per_call(calls)
        seconds["step_s"] /= stepped.latency_steps or self.steps
        return {"ann_s": None, "counts_s": None, **seconds, "batch_size": len(inputs[0])}


def classic_pipeline(snn: SpikingNetwork) -> SpikingNetwork | None:
    """The network firing immediately until silence; None where its neurons have no such form."""
    if snn.config.code != "rate" or not snn.config.held_as_counts:
        return None
    return snn.with_config(
        firing="immediate", signed=True, settle=None, simulate="steps", norm="accumulated",
        reset="call",
    )  # fmt: skip
