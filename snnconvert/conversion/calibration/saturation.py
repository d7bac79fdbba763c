"""How many values lie above their ceilings: on calibration data, and on a path, over t."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from torch import Tensor

from snnconvert.common.warning import warn
from snnconvert.conversion.calibration.path import Call
from snnconvert.conversion.execution.interpreter import Interpreter
from snnconvert.conversion.graph.nodes import Clip
from snnconvert.conversion.graph.program import Node, Program
from snnconvert.conversion.rules.layer_names import layer_names
from snnconvert.operators.clip import along_channels, quantized_clip

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

    def warn(self) -> None:
        """Warn where the path saturates far beyond calibration."""
        worst, layers = (0.0, "", 0.0, 0.0), 0
        for name, layer in self.layers.items():
            usual, path = self.shares(name)
            most = max(path, default=0.0)
            if most > max(LEAST, FAR_BEYOND * usual):
                layers += 1
                t = list(self.path)[path.index(most)]
                worst = max(worst, (most, layer, usual, t))
        if layers:
            most, layer, usual, t = worst
            warn(
                f"{layers} layers saturate far more on the solver's path than on calibration data "
                f"(most in {layer}, {most:.2%} of its values at t = {t:g}, else {usual:.2%}), and "
                "samples run away there: give more calibration inputs, more timesteps, or sample "
                "with clip=(low, high), the range of the data"
            )


def _share(counts: tuple[int, int]) -> float:
    return counts[0] / max(counts[1], 1)
