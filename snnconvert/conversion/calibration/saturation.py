"""How many values lie above their ceilings: on calibration data, and on a path, over t."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

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


class Saturation:
    """Runs a quantised network and counts the values that its clips cut.

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
    program: Program, constants: Mapping[str, Tensor], follower: Follower, kept: Kept, path: Path
) -> Saturation:
    """What a quantised network saturates on calibration data, and on a path that it follows.

    Args:
        program, constants: the network.
        follower: calls it as a path does.
        kept: calibration inputs.
    """
    found = Saturation(program, constants, follower.time)
    for call in cut(program, kept.sample(COUNTED)):
        found.add(call, on_path=False)
    network = follower.network(lambda call: found.add(call, on_path=True))
    path.follow(network, follower.like, "judged")
    return found


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
