"""Thresholds for activations that were trained without ceilings, from batches of inputs."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Mapping
from dataclasses import dataclass, field
from functools import partial
from typing import Any

import torch
from torch import Tensor

from snnconvert.common.warning import warn
from snnconvert.common.words import counted
from snnconvert.conversion.calibration.along_path import AlongPath, PathCalibration
from snnconvert.conversion.calibration.batches import Kept, calls_of, kept_of
from snnconvert.conversion.calibration.bias_correction import adjust
from snnconvert.conversion.calibration.distributions import SiteDistributions
from snnconvert.conversion.calibration.options import CalibrationOptions
from snnconvert.conversion.calibration.over_t import OverT, divided, time_argument
from snnconvert.conversion.calibration.path import Call, Follower, Path
from snnconvert.conversion.calibration.quantizers import place_quantizers
from snnconvert.conversion.execution.interpreter import Interpreter
from snnconvert.conversion.graph.program import Node, Program
from snnconvert.conversion.prepare.sites import Site

CONVERGED = 1.5  # times the error on data held back, at most: see `SiteDistributions.held_back`

CORRECTED = 64  # inputs for the bias correction of a network on trial


@dataclass
class Calibration:
    """Ceilings found, and what the user should know about them.

    Attributes:
        ceilings: per site's node name, in a shape that broadcasts along the channels.
        inputs: number of calibration inputs.
        dead: channels that were zero on every input, by layer; they got their layer's median.
        unsettled: how many times the error is larger on data held back, of the layers where that
            is too much.
        wanted: about how many inputs would do; None where they do, or nothing tells.
        kept: a sample of the inputs, for the passes that follow.
        bytes_per_input: of the largest activation.
        over_t: where ceilings depend on t, its division; they are tables then, [N, ...].
        weights: what training the weights achieved, where that was asked for.
        path: what a solver's path showed, where one was given.
        origin: digests of the float network's weights, by which it is known again.
    """

    ceilings: dict[str, Tensor]
    inputs: int
    kept: Kept
    bytes_per_input: int = 1
    dead: dict[str, list[int]] = field(default_factory=dict)
    unsettled: dict[str, float] = field(default_factory=dict)
    wanted: int | None = None
    over_t: OverT | None = None
    weights: dict[str, Any] | None = None
    path: PathCalibration | None = None
    origin: list[str] = field(default_factory=list)

    def to_dict(self) -> dict[str, Any]:
        return {
            "inputs": self.inputs,
            "dead_channels": self.dead,
            "unsettled": self.unsettled,
            "wanted_inputs": self.wanted,
            "over_t": self.over_t.to_dict() if self.over_t else None,
            "weights": self.weights,
            "path": self.path.to_dict() if self.path else None,
            "origin": self.origin,
        }


@torch.no_grad()
def calibrate(
    program: Program,
    constants: dict[str, Tensor],
    sites: list[Site],
    batches: Iterable[Any],
    levels: int,
    options: CalibrationOptions,
) -> Calibration:
    """Ceilings of the sites that need one, from the float network's own activations.

    One pass over `batches`; memory does not grow with their number. For ceilings that depend on t
    the statistics come from the sample of the inputs that is kept, since only after all of them is
    the range of t known.

    Raises:
        InputError: unusable batches, or activations that are no finite numbers.
    """
    parts = options.thresholds_over_t
    found = {
        site.node.name: SiteDistributions(site, options.per_channel, parts)
        for site in sites if site.needs_ceiling
    }  # fmt: skip
    over_t: OverT | None = None
    kept = Kept(program)
    calls = calls_of(program, batches)
    if parts > 1:
        kept = kept_of(program, batches)
        over_t, calls = divided(program, kept, parts, options.t_argument), kept.calls()

    interpreter = Interpreter(program)

    sizes = [1]

    def look(call: Call, rare: bool = False) -> None:
        rows = None if over_t is None else over_t.rows(program, call)
        visit = _Visit(found, rows, program.batch_size(call), rare)
        interpreter.run(constants, call, visit)
        sizes.append(max(sizes.pop(), visit.bytes_per_input))

    for call in calls:
        if over_t is None:
            kept.add(call)
        look(call)
    calibration = Calibration({}, kept.seen, kept, sizes[0], over_t=over_t)
    reach = 0.0
    if options.path is not None:
        plain = _Plain(program, constants, sites, levels, over_t)
        calibration.path = _along(plain, found, options.path, kept, look, options)
        reach = calibration.path.reach
    for name, statistics in found.items():
        _choose(calibration, name, statistics, options.threshold, levels, reach)
        held_back = statistics.held_back(options.threshold, levels)
        if held_back > CONVERGED:
            calibration.unsettled[statistics.layer] = held_back
    calibration.wanted = wanted_inputs(calibration.inputs, calibration.unsettled.values())
    _warn(calibration)
    return calibration


def wanted_inputs(inputs: int, held_back: Collection[float]) -> int | None:
    """About how many inputs bring the error on data held back down to `CONVERGED`, 2 digits.

    What half of the inputs makes too much there falls about as their number to the power 1.5.
    """
    worst = max(held_back, default=0.0)
    if not 1 < worst < float("inf"):
        return None
    count = max(2 * inputs, inputs / 2 * ((worst**2 - 1) / (CONVERGED**2 - 1)) ** (1 / 1.5))
    return int(float(f"{count:.1e}"))


@dataclass(frozen=True)
class _Plain:
    """The float network, and how it is quantised."""

    program: Program
    constants: dict[str, Tensor]
    sites: list[Site]
    levels: int
    over_t: OverT | None


def _along(
    plain: _Plain, found: Mapping[str, SiteDistributions], path: Path, kept: Kept,
    look: Callable[[Call, bool], object], options: CalibrationOptions,
) -> PathCalibration:  # fmt: skip
    """Calibrate on what a solver visits."""

    def quantised(reach: float) -> tuple[Program, dict[str, Tensor]]:
        trial = Calibration({}, kept.seen, kept)
        for name, statistics in found.items():
            _choose(trial, name, statistics, options.threshold, plain.levels, reach)
        program, constants = place_quantizers(
            plain.program, plain.constants, plain.sites, trial.ceilings, plain.levels, plain.over_t
        )
        if not options.bias_correction:
            return program, constants
        return adjust(
            plain.program, program, constants, plain.sites, [kept.sample(CORRECTED)],
            plain.constants,
        )  # fmt: skip

    run = partial(Interpreter(plain.program).run, plain.constants)
    _, time = time_argument(plain.program, options.t_argument, "path")
    follower = Follower(plain.program, run, kept, time, options.facts)
    return AlongPath(path, follower, run, look, quantised, kept).calibrate()


@dataclass
class _Visit:
    """Adds the activations of one call to what was `found`, and notes how large they are."""

    found: Mapping[str, SiteDistributions]
    rows: Tensor | None
    inputs: int
    rare: bool = False
    bytes_per_input: int = 1

    def __call__(self, node: Node, value: Any) -> Any:
        if isinstance(value, Tensor) and value.ndim:
            size = 4 * value.numel() // max(1, self.inputs)
            self.bytes_per_input = max(self.bytes_per_input, size)
        if node.name in self.found:
            self.found[node.name].add(value, self.rows, self.rare)
        return value


def _choose(
    calibration: Calibration, name: str, statistics: SiteDistributions, threshold: str,
    levels: int, reach: float,
) -> None:  # fmt: skip
    chosen = statistics.reached(statistics.ceilings(threshold, levels), reach)
    seen = chosen > 0
    dead = ~seen.any(0)
    if bool(dead.any()):
        calibration.dead[statistics.layer] = dead.nonzero().flatten().tolist()
    alive = chosen[seen]
    chosen = torch.where(seen, chosen, chosen.sum(0) / seen.sum(0))  # its mean over the other t
    chosen[:, dead] = alive.median() if len(alive) else 1.0
    calibration.ceilings[name] = statistics.laid_out(chosen)


def _warn(calibration: Calibration) -> None:
    if calibration.unsettled:
        layer, worst = max(calibration.unsettled.items(), key=lambda item: item[1])
        wanted = calibration.wanted
        more = "give more inputs" if wanted is None else f"about {wanted:,} inputs would do"
        warn(
            f"calibration has not converged after {calibration.inputs} inputs: ceilings from one "
            f"half of the data make {worst:.1f} times the error on the other half (in "
            f"{layer}, the worst of {len(calibration.unsettled)} such layers); {more}",
        )
    silent = [layer for layer, channels in calibration.dead.items() if channels]
    if silent:
        total = sum(map(len, calibration.dead.values()))
        warn(
            f"{counted(total, 'channel')} in {counted(len(silent), 'layer')}, zero on all "
            f"{calibration.inputs} calibration inputs, got the median threshold of their layer "
            "(see `calibration` of the converted network)",
        )
