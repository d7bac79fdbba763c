"""How many timesteps a wanted error needs: some are measured, the rest is predicted."""

from __future__ import annotations

import math
import warnings
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any

from torch import nn

from snnconvert.common.checks import checked_integer, checked_number
from snnconvert.common.modes import evaluating
from snnconvert.conversion.convert import convert
from snnconvert.conversion.convertible import convertible_of
from snnconvert.conversion.spiking.config import LONGEST_RADIX
from snnconvert.conversion.spiking.network import SpikingNetwork
from snnconvert.errors import InputError
from snnconvert.report.trials.calls import AsCaptured, Call, calls_in
from snnconvert.report.trials.quick import answers, distance, quick

MOST = {"rate": 64, "radix": 12}  # timesteps that are tried where none are named
LONGEST = 4096
REFINED = 4  # measurements that follow the first ones
HELD_OUT = 4  # every so many batches are held out
FLOOR = 1e-12

Measure = Callable[[nn.Module], float]
NO_MEASURES: Mapping[str, Measure] = MappingProxyType({})


@dataclass(frozen=True)
class Sweep:
    """Error over the number of timesteps.

    Attributes:
        rows: a row for each T, `timesteps`, `levels`, `relative_error_ann`, `measured` (else
            predicted), in order; with the figures of `measures`, None where not measured.
        wanted: the error asked for, or None.
        recommended: smallest measured T within it, by the curve no smaller one is; None: no T is.
        held_out: inputs that were measured on; they are not those of calibration, where there
            are several batches.
        float_ann: the figures of `measures` of the float network.
    """

    rows: list[dict[str, Any]]
    wanted: float | None
    recommended: int | None
    held_out: int
    float_ann: dict[str, float]

    def to_dict(self) -> dict[str, Any]:
        return dict(vars(self))

    @property
    def best(self) -> dict[str, Any]:
        """The measured row of the least error."""
        measured = [row for row in self.rows if row["measured"]]
        return min(measured, key=lambda row: float(row["relative_error_ann"]))


def sweep(
    ann: nn.Module,
    timesteps: Sequence[int] | None = None,
    *,
    example_inputs: Any = None,
    calibration: Iterable[Any],
    max_error: float | None = None,
    float_ann: nn.Module | None = None,
    measures: Mapping[str, Measure] = NO_MEASURES,
    on_trial: Callable[[int], object] = lambda timesteps: None,
    **options: Any,
) -> Sweep:
    """Convert with some of `timesteps`, measure how far each is from the float network.

    A power of two apart first; with `max_error`, also where the curve says it is reached. What is
    in between is interpolated, on logarithmic axes.

    Args:
        ann: any network that `convert` takes.
        timesteps: from ... to; default 1 ... 64 (radix: 1 ... 12).
        example_inputs: as `convert`.
        calibration: batches; every fourth is held out and measured on.
        max_error: relative error that is wanted.
        float_ann: what a network that was trained quantised is held against.
        measures: functions of a network by the names of their figures, such as an accuracy; asked
            of the float network first, then of each conversion.
        on_trial: called with the T that is tried next.
        options: of `convert`.

    Raises:
        InputError: an empty range, no positive number; as `convert`.
    """
    code = options.get("code", "rate")
    span = checked_span(timesteps, code)
    wanted = None if max_error is None else checked_number("max_error", max_error, "(0, inf)")
    trials = _Trials(ann, example_inputs, list(calibration), float_ann, options)
    with evaluating(trials.float_ann):
        return _swept(trials, span, code, wanted, measures, on_trial)


def _swept(
    trials: _Trials, span: list[int], code: str, wanted: float | None,
    measures: Mapping[str, Measure], on_trial: Callable[[int], object],
) -> Sweep:  # fmt: skip
    own = {name: float(figure(trials.float_network)) for name, figure in measures.items()}
    found: dict[int, float] = {}
    figures: dict[int, dict[str, float]] = {}

    def measure(steps: int) -> None:
        on_trial(steps)
        network = trials.converted(steps)
        found[steps] = max(trials.error_of(network), FLOOR)
        figures[steps] = {name: float(figure(network)) for name, figure in measures.items()}

    for steps in grid(span, code):
        measure(steps)
    for _ in range(REFINED if wanted is not None else 0):
        nearest = smallest(span, found, wanted or 0.0)
        if nearest is None or nearest in found:
            break
        measure(nearest)
    recommended = None
    if wanted is not None:
        recommended = min((t for t, error in found.items() if error <= wanted), default=None)
    rows = [
        {"timesteps": t, "levels": trials.levels(t), "relative_error_ann": predicted(t, found),
         "measured": t in found, **figures.get(t, dict.fromkeys(measures))}
        for t in span
    ]  # fmt: skip
    return Sweep(rows, wanted, recommended, trials.held_out, own)


def checked_span(timesteps: Sequence[int] | None, code: str) -> list[int]:
    """The numbers of timesteps in order. InputError where there are none, or senseless ones."""
    if timesteps is None:
        return list(range(1, MOST[code] + 1))
    most = LONGEST_RADIX if code == "radix" else LONGEST
    span = sorted({checked_integer("timesteps", t, 1, most) for t in timesteps})
    if not span:
        raise InputError("timesteps: the range is empty; write it from ... to, e.g. 1-64")
    return span


def grid(span: Sequence[int], code: str) -> list[int]:
    """Those that are measured first: about a factor of two in levels apart, both ends."""
    if code == "radix":
        return list(span[:: max(1, len(span) // 6)]) + [span[-1]] * (len(span) > 6)
    wanted = span[0]
    found = []
    while wanted < span[-1]:
        found.append(min(span, key=lambda t: abs(t - wanted)))
        wanted *= 2
    return list(dict.fromkeys([*found, span[-1]]))


def predicted(timesteps: int, found: Mapping[int, float]) -> float:
    """The error at T, on a line between its measured neighbours, log against log."""
    if timesteps in found:
        return found[timesteps]
    known = sorted(found)
    left = max((t for t in known if t < timesteps), default=known[0])
    right = min((t for t in known if t > timesteps), default=known[-1])
    if left == right:
        return found[left]
    share = math.log(timesteps / left) / math.log(right / left)
    result: float = found[left] * (found[right] / found[left]) ** share
    return result


def smallest(span: Sequence[int], found: Mapping[int, float], wanted: float) -> int | None:
    """The smallest T whose error is, measured or predicted, within the wanted one."""
    return next((t for t in span if predicted(t, found) <= wanted), None)


def timesteps_for(max_error: float, **arguments: Any) -> int:
    """The smallest T within `max_error`; arguments as `sweep`.

    Raises:
        InputError: none is; it names the best that was found.
    """
    found = sweep(max_error=max_error, **arguments)
    if found.recommended is None:
        best = found.best
        raise InputError(
            f"max_error: found {max_error:g}, no number of timesteps up to "
            f"{found.rows[-1]['timesteps']} reaches it; the best is "
            f"{best['relative_error_ann']:.3g} at T = {best['timesteps']}"
        )
    return found.recommended


class _Trials:
    """Conversions with several numbers of timesteps, all measured on the same held-out inputs."""

    def __init__(
        self, ann: nn.Module, example: Any, batches: Sequence[Any], float_ann: nn.Module | None,
        options: Mapping[str, Any],
    ) -> None:  # fmt: skip
        if not batches:
            raise InputError("sweep: no batches were given; measuring needs inputs (--data)")
        every = min(HELD_OUT, len(batches))
        self.fitted = [b for i, b in enumerate(batches) if i % every != every - 1] or list(batches)
        self.measured = batches[every - 1 :: every]
        self.ann, self.options = ann, dict(options)
        self.example = batches[0] if example is None else example
        spiking_time = bool(options.get("spiking_time", False))
        network = convertible_of(ann, self.example, spiking_time=spiking_time)
        self.calibrates = bool(network.open_sites)
        self.first: SpikingNetwork | None = None
        exact = ann if self.calibrates else float_ann
        if exact is None:
            raise InputError(
                "sweep: a network that was trained quantised is held against its float network, "
                "and there is none; give float_ann (a checkpoint that holds both)"
            )
        self.float_ann, self.float_network = exact, AsCaptured(exact, network.program)
        self.calls: list[Call] = []
        self.wanted: list[Any] = []
        self.held_out = 0

    def levels(self, timesteps: int) -> int:
        return 2**timesteps - 1 if self.options.get("code") == "radix" else timesteps

    def error_of(self, snn: SpikingNetwork) -> float:
        """On the held-out inputs, against the float network."""
        if not self.calls:
            self.calls = list(calls_in(snn.program, self.measured))
            self.wanted = answers(self.float_ann, self.calls)
            sizes = (snn.program.batch_size(snn.program.bind(*call)) for call in self.calls)
            self.held_out = sum(sizes)
        return distance(snn, self.wanted, self.calls)

    def converted(self, timesteps: int) -> SpikingNetwork:
        """With T = `timesteps`, calibrated for it, in the form that is quick to run."""
        if self.first is None:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")
                snn = convert(self.ann, timesteps, example_inputs=self.example,
                              calibration=self.fitted, **self.options)  # fmt: skip
            if not self.calibrates and snn.config.neuron == "if":
                self.first = snn
        else:
            snn = self.first.with_config(timesteps=timesteps)
        return quick(snn)
