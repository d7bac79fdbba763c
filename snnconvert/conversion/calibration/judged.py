"""What a network does on a solver's path: where its samples end, and what it saturates there."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass
from functools import partial
from typing import Any

import torch
from torch import Tensor

from snnconvert.common.words import counted
from snnconvert.conversion.calibration.batches import Kept, cut
from snnconvert.conversion.calibration.path import Call, Follower, Path
from snnconvert.conversion.execution.interpreter import Interpreter
from snnconvert.conversion.graph.nodes import Clip
from snnconvert.conversion.graph.program import Node, Program
from snnconvert.conversion.rules.layer_names import layer_names
from snnconvert.operators.clip import along_channels, quantized_clip

COUNTED = 256  # calibration inputs whose saturated values are counted
FAR_BEYOND = 10.0  # times the share that calibration data saturates: worth a warning
LEAST = 0.001  # share of a layer's values that is too small for one
ESCAPED = 2.0  # times the largest end of the float network: beyond, a sample has escaped
UNLIKE = 1.0  # times the spread of the float network's ends: such an error leaves little of them


class Saturation:
    """Runs a quantised network and counts the values that its clips cut, on a path over t.

    Args:
        program, constants: the quantised network; time: the index of its input t.
    """

    def __init__(self, program: Program, constants: Mapping[str, Tensor], time: int) -> None:
        clips = [node for node in program.nodes if Clip.found(node)]
        names = layer_names(program)
        self.layers = {node.name: names[node.name] for node in clips}
        self.constants, self.time = constants, time
        self.interpreter = Interpreter(program, {n.name: self._counting(n) for n in clips})
        self.now: dict[str, tuple[int, int]] = {}  # in this call: above the ceiling, of how many
        self.usual: dict[str, tuple[int, int]] = {}
        self.path: dict[float, dict[str, tuple[int, int]]] = {}  # by t

    def _counting(self, node: Node) -> Callable[[Mapping[str, Any]], Tensor]:
        clip = Clip.of(node)

        def run(values: Mapping[str, Any]) -> Tensor:
            x, ceiling = values[clip.input.name], values[clip.ceiling.name]
            start = None if clip.v_init is None else values[clip.v_init.name]
            high = x.abs() if clip.signed else x
            above = int((high > along_channels(ceiling, x)).sum())
            self.now[node.name] = (above, x.numel())
            result: Tensor = quantized_clip(x, ceiling, clip.levels, clip.signed, start)
            return result

        return run

    def add(self, call: Call, on_path: bool) -> Any:
        """What the network returns in a call that is counted; its t is one for all on a path."""
        self.now = {}
        output = self.interpreter.run(self.constants, call)
        t = float(call[self.time].flatten()[0])
        into = self.path.setdefault(t, {}) if on_path else self.usual
        for name, (above, of) in self.now.items():
            before = into.get(name, (0, 0))
            into[name] = (before[0] + above, before[1] + of)
        return output

    def shares(self, name: str) -> tuple[float, list[float]]:
        """The share of one layer's values above the ceiling: on usual data, and at each t."""
        return _share(self.usual[name]), [_share(found[name]) for found in self.path.values()]

    def to_dict(self) -> dict[str, Any]:
        layers = {
            layer: dict(zip(("calibration", "path"), self.shares(name), strict=True))
            for name, layer in self.layers.items()
        }
        return {"t": list(self.path), "layers": layers}


def saturation_along(
    program: Program, constants: Mapping[str, Tensor], follower: Follower, kept: Kept, path: Path,
    answers: Callable[[Call], Any] | None = None,
) -> tuple[Saturation, Tensor]:  # fmt: skip
    """What a quantised network saturates on calibration data and on a path, and where that ends.

    Args:
        program, constants: the network.
        follower: calls it as a path does.
        kept: calibration inputs.
        answers: runs another network, whose path it is; None: its own.
    """
    found = Saturation(program, constants, follower.time)
    for call in cut(program, kept.sample(COUNTED)):
        found.add(call, on_path=False)

    def run(call: Call) -> Any:
        own = found.add(call, on_path=True)
        return own if answers is None else answers(call)

    return found, path.follow(follower.network(run), follower.like, "judged")


def far_beyond(found: Mapping[str, Any]) -> str:
    """What to say where layers saturate far more on a path; "" where they do not.

    Args:
        found: as `Saturation.to_dict` gives it.
    """
    worst, layers = (0.0, "", 0.0, 0.0), 0
    for layer, shares in found["layers"].items():
        most = max(shares["path"], default=0.0)
        if most > max(LEAST, FAR_BEYOND * shares["calibration"]):
            layers += 1
            t = found["t"][shares["path"].index(most)]
            worst = max(worst, (most, layer, shares["calibration"], t))
    if not layers:
        return ""
    most, layer, usual, t = worst
    saturate = f"{counted(layers, 'layer')} saturate{'s' if layers == 1 else ''}"
    return (
        f"{saturate} far more on the solver's path than on calibration data (most in "
        f"{layer}, {most:.2%} of its values at t = {t:g}, else {usual:.2%})"
    )


def _share(counts: tuple[int, int]) -> float:
    return counts[0] / max(counts[1], 1)


@dataclass(frozen=True)
class Judged:
    """What became of a network's samples, beside the float network's from equal starts.

    Attributes:
        samples: that were drawn; escaped: of them, those that ended beyond `ESCAPED` times the
            largest end of the float network.
        error: root mean square distance of the others from the float network's ends.
        spread: root mean square distance of the float network's ends from their mean.
    """

    samples: int
    escaped: int
    error: float
    spread: float

    @classmethod
    def of(cls, ends: Tensor, wanted: Tensor) -> Judged:
        """Of a network that ended at `ends`, the float network at `wanted` [B, ...].

        Samples with which the float network itself came to no end count for nothing.
        """
        good = wanted.isfinite().flatten(1).all(1)
        ends, wanted = ends[good], wanted[good]
        if not len(wanted):
            return cls(0, 0, 0.0, 0.0)
        size = ends.flatten(1).abs().amax(1)
        stayed = size <= ESCAPED * wanted.abs().max()  # False for NaN too
        gap = (ends - wanted)[stayed].double().square().mean().sqrt()
        error = float(gap) if bool(stayed.any()) else torch.inf
        spread = float((wanted - wanted.mean(0)).double().square().mean().sqrt())
        return cls(len(ends), int((~stayed).sum()), error, spread)

    def to_dict(self) -> dict[str, Any]:
        return asdict(self)


class Judge:
    """Judges networks by the same samples of a path, which none of them was calibrated on.

    Args:
        path: of a solver.
        follower: of the float network's program, whose inputs all of them take.
        kept: calibration inputs.
        plain: runs the float network.
    """

    def __init__(
        self, path: Path, follower: Follower, kept: Kept, plain: Callable[[Call], Any]
    ) -> None:
        self.path, self.follower, self.kept = path, follower, kept
        self.wanted = self._ends(plain)

    def _ends(self, run: Callable[[Call], Any]) -> Tensor:
        return self.path.follow(self.follower.network(run), self.follower.like, "judged")

    @torch.no_grad()
    def __call__(self, program: Program, constants: Mapping[str, Tensor]) -> Judged:
        """Of a quantised network."""
        return Judged.of(self._ends(partial(Interpreter(program).run, constants)), self.wanted)

    @torch.no_grad()
    def delivered(
        self, program: Program, constants: Mapping[str, Tensor],
        answers: Callable[[Call], Any] | None = None,
    ) -> tuple[Judged, Saturation]:  # fmt: skip
        """Of a network that is handed over, and what it saturates.

        Args:
            program, constants: its quantised ANN.
            answers: runs the network itself, where it is not known to end as its quantised ANN.
        """
        saturation, ends = saturation_along(
            program, constants, self.follower, self.kept, self.path, answers
        )
        return Judged.of(ends, self.wanted), saturation


def trouble(judged: Mapping[str, Any] | None) -> str:
    """What to say of a network whose samples escape, or are far from the float one's; else "".

    Args:
        judged: as `Judged.to_dict` gives it.
    """
    if judged is None:
        return ""
    escaped, samples = judged["escaped"], judged["samples"]
    unlike = escaped < samples and judged["error"] > UNLIKE * judged["spread"] > 0
    if not escaped and not unlike:
        return ""
    distance = f"{judged['error']:.2g} (RMS; these spread by {judged['spread']:.2g})"
    if not escaped:
        return (
            f"on the solver's path its {counted(samples, 'sample')} end as far from the float "
            f"network's as others would: {distance}"
        )
    return (
        f"on the solver's path {escaped:,} of {counted(samples, 'sample')} escape, beyond "
        f"{ESCAPED:g} times the float network's farthest"
        + (f", and the others end {distance} from its own" if unlike else "")
    )


def warning(judged: Judged, saturation: Saturation, exact: bool) -> str:
    """What to warn of in a network that is handed over; "" where there is nothing.

    exact: it ends as its quantised ANN.
    """
    said = trouble(judged.to_dict())
    if not said:
        return ""
    saturated = far_beyond(saturation.to_dict())
    remedy = "" if exact else "neurons that lose nothing (neuron='if', settle='auto'), "
    return (
        f"path: {said}{f'; {saturated}' if saturated else ''}: give {remedy}more timesteps or more "
        "calibration inputs, or sample with clip=(low, high), the range of the data"
    )
