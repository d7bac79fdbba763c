"""Hold a converted network against its ANN on the same inputs and say what was lost, and where."""

from __future__ import annotations

import html
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any

import torch
from torch import Tensor, nn

from snnconvert.common.modes import evaluating
from snnconvert.conversion.graph.program import Program
from snnconvert.conversion.prepare.analog import analog_operations
from snnconvert.conversion.spiking.network import SpikingNetwork, converted
from snnconvert.conversion.spiking.simulation import Run
from snnconvert.errors import InputError
from snnconvert.files.atomic import json_writer, write_atomically
from snnconvert.report.measures.as_seen import AsSeen
from snnconvert.report.measures.by_step import ByStep
from snnconvert.report.measures.by_time import ByTime
from snnconvert.report.measures.clip_recorder import ClipRecorder
from snnconvert.report.measures.cost import Cost, count_cost
from snnconvert.report.measures.difference import Difference
from snnconvert.report.measures.layers import LayerErrors
from snnconvert.report.measures.saturation import kept_for, saturation_of
from snnconvert.report.measures.timing import seconds_per_call
from snnconvert.report.trials.calls import Call, calls_in, first_of, quantised_and_float
from snnconvert.report.verdict import remarks, verdict

TIMED_IMAGES = 16


@dataclass(frozen=True)
class ConversionReport:
    """What `compare` found. `to_dict()` has stable keys ("Report keys" in the docs)."""

    content: dict[str, Any]

    def to_dict(self) -> dict[str, Any]:
        return self.content

    def __str__(self) -> str:
        """What matters in some lines, as a person reads it; `to_dict()` has everything."""
        content = self.content
        cost, steps = content["cost"], content["latency_steps"]
        return "\n".join([
            verdict(content),
            f"T = {content['timesteps']} ({content['levels']} levels), {content['code']} code, "
            f"{content['firing']} firing, {steps} clock steps, {content['images']} inputs",
            f"energy of a call, arithmetic at 45 nm: ANN {cost['energy_ann_mj']:.3g} mJ, "
            f"SNN {cost['energy_snn_mj']:.3g} mJ",
            *remarks(content),
        ])  # fmt: skip

    def _repr_html_(self) -> str:
        """The same in a notebook."""
        return "<br>".join(html.escape(line) for line in str(self).splitlines())

    def extended(self, **parts: Any) -> ConversionReport:
        """The report with more keys."""
        return ConversionReport({**self.content, **parts})

    def save(self, path: str | Path) -> None:
        """Write the report as JSON, atomically."""
        write_atomically(path, self.write)

    def write(self, file: IO[bytes]) -> None:
        """Write the report as JSON into an open file."""
        json_writer(self.content)(file)


@torch.no_grad()
def compare(
    ann: nn.Module,
    snn: SpikingNetwork,
    batches: Iterable[Any],
    *,
    float_ann: nn.Module | None = None,
) -> ConversionReport:
    """The conversion report.

    Args:
        ann: what `snn` was converted from. A quantised network is run as the quantised ANN of
            `levels` (T; 2^T - 1 under the radix code), whatever it was trained with. Of a network
            with plain activations the quantised ANN is `snn.quantized_ann()`, and `ann` itself
            becomes `float_ann`.
        snn: the converted network.
        batches: arguments of one call each, batch first, e.g. `(x, t)`, a tensor or a dict.
        float_ann: the float network, for `output_ann` and its time.

    Raises:
        InputError: no batches, or `snn` is no converted network, or was not converted from `ann`.
    """
    first, calls = first_of(calls_in(converted(snn).program, batches))
    with evaluating(ann, float_ann):
        qann, float_ann = quantised_and_float(ann, snn, first, float_ann)
        return _Comparison(qann, snn, float_ann).over(first, calls)


def timed(program: Program, call: Call) -> Call:
    """The images of a call that are timed: its first ones, where the network takes so few."""
    if program.signature is not None and program.signature.smallest_batch > TIMED_IMAGES:
        return call
    inputs, along = program.bind(*call), program.batch_inputs
    few = [value[:TIMED_IMAGES] if i in along else value for i, value in enumerate(inputs)]
    return program.unbind(few, positional=len(call[0]))


class _Comparison:
    def __init__(self, ann: nn.Module, snn: SpikingNetwork, float_ann: nn.Module | None) -> None:
        self.ann, self.snn = ann, snn
        self.float_ann = float_ann
        self.clocked = snn.with_config(simulate="steps", reset="call")
        self.classic = classic_pipeline(snn)
        config, functions = snn.config, snn.functions
        self.layers = [
            LayerErrors(name, config.neuron, cell, config.timesteps, functions[name])
            for name, cell in snn.neurons.items()
        ]
        self.output, self.output_ann = Difference(), Difference()
        self.classic_output = Difference()
        self.classic_steps: list[int] = []
        self.steps_by_input: list[Tensor] = []
        self.classic_spikes = self.classic_counts = 0.0
        self.by_step, self.by_time = ByStep(), ByTime(snn.program)
        self.seen, self.unclipped = AsSeen(snn), Difference()
        self.steps = 0
        self.cost = Cost()
        self.images = 0
        self.kept = kept_for(snn)

    def over(self, first: Call, calls: Iterable[Call]) -> ConversionReport:
        for call in calls:
            self._add(call)
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
            "v_init": config.v_init,
            "reset": config.reset,
            "neurons": self._kinds(),
            "analog": self._analog(),
            "calibration": told_of(self.snn.calibration),
            "images": self.images,
            "latency_steps": self.steps,
            "output": self.output.to_dict(),
            "output_ann": self._far() if self.float_ann is not None else None,
            "counts": {"mismatched_fraction": mismatched / neurons},
            "layers": [layer.to_dict() for layer in self.layers],
            "layers_add_up": all(layer.adds_up for layer in self.layers),
            "cost": self.cost.to_dict(config.levels),
            "timing": self._timing(timed(self.snn.program, first)),
            "immediate": self._immediate(),
            "by_step": self.by_step.to_list(self.steps, self.images),
            "by_time": self.by_time.to_list(self.float_ann is not None),
            "saturation": saturation_of(self.snn, self.kept),
        })  # fmt: skip

    def _far(self) -> dict[str, Any]:
        """How far from the float network, and what of that samplers clip."""
        unclipped = self.unclipped.relative_error if self.seen.clips else None
        return {**self.output_ann.to_dict(), "unclipped_error": unclipped}

    def _kinds(self) -> dict[str, Any]:
        """Neurons per image, and the share of those that apply a function before they spike."""
        total = sum(layer.sums["neurons"] for layer in self.layers) / self.images
        with_function = sum(layer.sums["neurons"] for layer in self.layers if layer.function)
        share = with_function / self.images / total
        return {
            "per_image": total, "plain_fraction": 1 - share, "function_fraction": share,
            "functions_of_time": self.snn.functions_of_time,
        }  # fmt: skip

    def _analog(self) -> list[dict[str, str]]:
        """What weights read as currents: layer and operation."""
        found = analog_operations(self.snn.program)
        return [{"layer": node.layer or node.name, "op": node.op.split(".")[1]} for node in found]

    def _immediate(self) -> dict[str, Any] | None:
        if self.classic is None:
            return None
        return {
            "steps_to_silence": max(self.classic_steps),
            "mean_steps": torch.cat(self.steps_by_input).double().mean().item()
            if self.steps_by_input
            else None,
            "spikes_per_count": self.classic_spikes / max(self.classic_counts, 1.0),
            "bit_equal": self.classic_output.equal,
        }

    def _add(self, call: Call) -> None:
        args, kwargs = call
        recorder = ClipRecorder(self.snn.config.levels)
        with recorder:
            wanted = self.ann(*args, **kwargs)
        run = self.clocked.run(*args, record="counts", **kwargs)
        if [tuple(clip.x.shape) for clip in recorder.seen] != [
            tuple(v.shape) for v in run.counts.values()
        ]:
            raise InputError("compare: the spiking network was not converted from this ANN")
        for layer, clip, name in zip(self.layers, recorder.seen, run.counts, strict=True):
            seen, counts, emitted = run.inputs[name], run.counts[name], run.emitted[name]
            layer.add(run.neurons[name], clip, seen, counts, emitted)
        clocked = self.snn.config == self.clocked.config
        found = run.output if clocked else self.snn(*args, **kwargs)
        self.output.add(found, wanted)
        exact = None if self.float_ann is None else self.float_ann(*args, **kwargs)
        inputs = self.snn.program.bind(args, kwargs)
        if exact is not None:
            self.unclipped.add(found, exact)
            exact = self.seen(args, kwargs, exact)
            self.output_ann.add(self.seen(args, kwargs, found), exact)
        if self.kept is not None:
            self.kept.add(inputs)
        seen, qann = (self.seen(args, kwargs, output) for output in (found, wanted))
        self.by_time.add(inputs, seen, qann, exact)
        self.steps = max(self.steps, run.steps)
        if self.classic is not None:
            same = self.classic.config == self.clocked.config
            classic = run if same else self.classic.run(*args, record="counts", **kwargs)
            self.classic_output.add(classic.output, wanted)
            self.classic_steps.append(classic.steps)
            rows = classic.last_spikes
            if rows is not None and len(rows) == self.snn.program.batch_size(inputs):
                self.steps_by_input.append(rows.clamp(min=self.classic.config.timesteps))
            self.classic_spikes += sum(v.double().sum().item() for v in classic.emitted.values())
            self.classic_counts += sum(
                v.double().abs().sum().item() for v in classic.counts.values()
            )
        self.by_step.add(run.by_step, wanted)
        self._add_cost(inputs, run)

    def _add_cost(self, inputs: Sequence[Tensor], run: Run) -> None:
        """Mean over all images so far of what a call costs."""
        new = count_cost(self.clocked, inputs, run)
        images = self.snn.program.batch_size(inputs)
        self.images += images
        self.cost = self.cost.mixed(new, images / self.images)

    def _timing(self, call: Call) -> dict[str, Any]:
        args, kwargs = call
        stepped = self.classic.with_config(settle=0) if self.classic else self.clocked
        networks = {"qann_s": self.ann, "step_s": stepped}
        base = self.classic or self.snn
        if base.config.held_as_counts or base.config.firing == "deferred":
            networks["counts_s"] = base.with_config(simulate="counts", reset="call")
        if self.float_ann is not None:
            networks["ann_s"] = self.float_ann
        seconds = seconds_per_call(networks, args, kwargs)
        seconds["step_s"] /= stepped.latency_steps or self.steps
        images = self.snn.program.batch_size(self.snn.program.bind(args, kwargs))
        return {"ann_s": None, "counts_s": None, **seconds, "batch_size": images}


def told_of(calibration: Mapping[str, Any]) -> dict[str, Any] | None:
    """What people read of a calibration; None where there was none."""
    return {key: value for key, value in calibration.items() if key != "origin"} or None


def classic_pipeline(snn: SpikingNetwork) -> SpikingNetwork | None:
    """The network firing immediately until silence; None where its neurons have no such form."""
    if snn.config.code != "rate" or not snn.config.held_as_counts:
        return None
    return snn.with_config(
        firing="immediate", signed=True, settle=None, simulate="steps", norm="accumulated",
        reset="call",
    )  # fmt: skip
