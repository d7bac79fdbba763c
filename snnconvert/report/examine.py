"""All that a report tells of a converted network: `compare`, and what only a closer look shows."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from torch import Tensor, nn

from snnconvert.common.modes import evaluating
from snnconvert.conversion.calibration.over_t import time_argument
from snnconvert.conversion.graph.program import Program
from snnconvert.conversion.spiking.network import SpikingNetwork, converted
from snnconvert.errors import InputError
from snnconvert.report.causes import causes_of
from snnconvert.report.compare import ConversionReport, compare
from snnconvert.report.example_run import example_run
from snnconvert.report.network_graph import network_graph
from snnconvert.report.pictures import Drawing, draw_side_by_side
from snnconvert.report.trials.advice import advise
from snnconvert.report.trials.calls import (
    AsCaptured,
    Call,
    calls_in,
    few,
    first_of,
    quantised_and_float,
)
from snnconvert.report.trials.conversions import Trials
from snnconvert.report.trials.quick import answers, distance, quick
from snnconvert.report.verdict import remarks, verdict

CAUSE_INPUTS, CURVE_INPUTS = 16, 32
FITTED_INPUTS, HELD_OUT_INPUTS = 128, 64  # of a trial
CLOCKED = 4  # times the present T, where each T takes its steps
CURVE = {"rate": (1, 2, 4, 8, 16, 32, 64), "radix": (1, 2, 3, 4, 5, 6, 8)}

OnPhase = Callable[[str], object]  # told what is done now


@dataclass(frozen=True)
class Examination:
    """A report with all of its parts, and the images that networks drew.

    Attributes:
        images: [N, C, H, W] by solver and network; empty where nothing is drawn.
    """

    report: ConversionReport
    images: Mapping[str, Mapping[str, Tensor]] = field(default_factory=dict)

    @property
    def content(self) -> dict[str, Any]:
        return self.report.to_dict()


def examine(
    ann: nn.Module,
    snn: SpikingNetwork,
    batches: Iterable[Any],
    *,
    float_ann: nn.Module | None = None,
    calibration: Iterable[Any] | None = None,
    drawing: Drawing | None = None,
    advice: bool = True,
    on_phase: OnPhase = lambda words: None,
) -> Examination:
    """The report, with verdict, causes, advice, a graph, an example run and drawn images.

    Args:
        ann, snn, batches, float_ann: as `compare`.
        calibration: inputs on which other options are tried; default some of `batches`.
        drawing: of a denoiser of images: how it draws.
        advice: try what would help; each trial is a conversion on some inputs.
        on_phase: called with what is done next.

    Raises:
        InputError: as `compare`.
    """
    with evaluating(ann, float_ann):
        return _examined(
            ann, converted(snn), batches, float_ann, calibration, drawing, advice, on_phase
        )


def _examined(
    ann: nn.Module, snn: SpikingNetwork, batches: Iterable[Any], float_ann: nn.Module | None,
    calibration: Iterable[Any] | None, drawing: Drawing | None, advice: bool, on_phase: OnPhase,
) -> Examination:  # fmt: skip
    kept: list[Any] = []  # batches for the closer look
    seen = _keeping(snn.program, batches, kept, FITTED_INPUTS + HELD_OUT_INPUTS)
    on_phase("errors by layer")
    report = compare(ann, snn, seen, float_ann=float_ann)
    content = report.to_dict()
    first, calls = first_of(calls_in(snn.program, kept))
    held = list(calls)
    qann, exact = quantised_and_float(ann, snn, first, float_ann)
    on_phase("causes")
    causes = causes_of(qann, snn, exact, few(snn.program, held, CAUSE_INPUTS), content["layers"])
    worst = [list(snn.neurons)[row["number"]] for row in causes["worst"]]
    on_phase("an example run, neuron by neuron")
    parts: dict[str, Any] = {
        "causes": causes,
        "graph": network_graph(snn, few(snn.program, [first], 1)[0]),
        "example": example_run(snn, first, worst or list(snn.neurons)[:1]),
    }
    if exact is not None:
        on_phase("error against timesteps")
        parts["by_timesteps"] = by_timesteps(snn, exact, few(snn.program, held, CURVE_INPUTS))
    if advice and exact is not None and causes["worst"]:
        fitted = held if calibration is None else list(calls_in(snn.program, calibration))
        parts["advice"] = _advice(ann, exact, snn, causes["worst"], fitted, held, on_phase)
    images: Mapping[str, Mapping[str, Tensor]] = {}
    if drawing is not None:
        networks: dict[str, nn.Module] = {"quantised": qann, "SNN": quick(snn)}
        if exact is not None:
            networks = {"float": AsCaptured(exact, snn.program), **networks}
        parts["drawn"], images = draw_side_by_side(networks, drawing, on_draw=on_phase)
    whole = {**content, **parts}
    said = {"verdict": verdict(whole), "remarks": remarks(whole)}
    return Examination(ConversionReport({**said, **whole}), images)


def _keeping(
    program: Program, batches: Iterable[Any], kept: list[Any], inputs: int
) -> Iterable[Any]:  # fmt: skip
    """The batches, of which the first few stay in `kept`."""
    left = inputs
    for args, kwargs in calls_in(program, batches):
        call = kwargs or args
        if left > 0:
            kept.append(call)
            left -= program.batch_size(program.bind(args, kwargs))
        yield call


def _advice(
    ann: nn.Module, exact: nn.Module, snn: SpikingNetwork, worst: Sequence[dict[str, Any]],
    fitted: Sequence[Call], held: Sequence[Call], on_phase: OnPhase,
) -> dict[str, Any]:  # fmt: skip
    """Every second call to calibrate on, the others to measure with, where they are the same."""
    apart = fitted if fitted is not held else (held[::2] if len(held) > 1 else held)
    others = held[1::2] if fitted is held and len(held) > 1 else held
    trials = Trials(ann, snn, few(snn.program, apart, FITTED_INPUTS))
    measured = few(snn.program, others, HELD_OUT_INPUTS)
    return advise(exact, trials, worst, measured, takes_t(snn.program),
                  lambda words: on_phase(f"tried: {words}"))  # fmt: skip


def takes_t(program: Program) -> bool:
    """Whether the network is a denoiser's (x, t)."""
    try:
        time_argument(program, None)
    except InputError:
        return False
    return len(program.inputs) > 1


def by_timesteps(
    snn: SpikingNetwork, ann: nn.Module, calls: Sequence[Call]
) -> list[dict[str, Any]] | None:
    """Error against the float network for other numbers of timesteps, the thresholds as they are.

    None where thresholds were fitted for one number alone. A network that is not known to end as
    its quantised ANN runs the clock, for fewer of them.
    """
    if snn.config.neuron == "lif":
        return None
    wanted, present = answers(ann, calls), snn.config.timesteps
    most = max(CURVE[snn.config.code]) if snn.config.exact else CLOCKED * present
    steps = sorted({*(t for t in CURVE[snn.config.code] if t <= most), present})
    rows = []
    for timesteps in steps:
        other = quick(snn.with_config(timesteps=timesteps))
        rows.append({
            "timesteps": timesteps, "levels": other.config.levels,
            "relative_error_ann": distance(other, wanted, calls),
        })  # fmt: skip
    return rows


def csv_rows(content: dict[str, Any]) -> list[list[Any]]:
    """The layers of a report as a table, header first."""
    skipped = ("activity", "v_threshold")
    keys = [key for key in content["layers"][0] if key not in skipped]
    header = [*keys, "v_threshold_min", "v_threshold_max", "always_silent", "always_saturated"]
    rows: list[list[Any]] = [header]
    for layer in content["layers"]:
        theta = flat(layer["v_threshold"])
        activity = layer["activity"]
        ends = [min(theta), max(theta), activity["always_silent"], activity["always_saturated"]]
        rows.append([layer[key] for key in keys] + ends)
    return rows


def flat(value: Any) -> list[float]:
    """The numbers in nested lists."""
    return list(itertools.chain.from_iterable(map(flat, value))) if isinstance(value, list) else [
        float(value)
    ]  # fmt: skip
