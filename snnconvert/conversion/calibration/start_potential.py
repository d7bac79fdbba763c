"""Where the potential of a neuron starts (`v_init`), fitted to data: where its count is rounded.

The count of a neuron that has seen u = T * mean / threshold is floor(u + v_init), so v_init = 1/2
rounds to the nearest: best where the input is exact. Behind quantised layers it carries their
error, and then the best guess of what it should have been is rounded better elsewhere. In order of
execution each channel gets the start for which the rounded values, computed from what the
quantised network before them gives, are closest in mean square to the float network's activations.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import replace
from typing import Any

import torch
from torch import Tensor

from snnconvert.common.subsample import drawn
from snnconvert.conversion.calibration.distributions import channel_rows, shape_of
from snnconvert.conversion.graph.nodes import Clip, start_name
from snnconvert.conversion.graph.program import Node, Program, Ref
from snnconvert.conversion.prepare.sites import Site
from snnconvert.operators.clip import along_channels, quantized_clip

STARTS = torch.arange(1, 32) / 32  # those tried
VALUES = 1 << 17  # per layer and call that are looked at


class StartFit:
    """The start of one quantised clip, and the errors that all of `STARTS` have made so far.

    Args:
        node: the clip; axis: of its channels, None for one start a layer.

    Attributes:
        wanted: the float network's activation in the call that runs; set by the caller.
        best: the best so far, [] or [C] or [1, ..., C].
    """

    def __init__(self, node: Node, axis: int | None) -> None:
        clip = Clip.of(node)
        self.source, self.ceiling = clip.input.name, clip.ceiling.name
        self.levels, self.signed = clip.levels, clip.signed
        self.axis = axis
        self.wanted = self.best = torch.tensor(0.5)
        self.errors: Tensor | float = 0.0

    def clip(self, values: Mapping[str, Any]) -> Tensor:
        """The clip's value in this call, for an `Interpreter`; looks at the call first."""
        x, ceiling = values[self.source], values[self.ceiling]
        self._look(x, along_channels(ceiling, x).expand_as(x))
        result: Tensor = quantized_clip(x, ceiling, self.levels, self.signed, self.best)
        return result

    def _look(self, x: Tensor, top: Tensor) -> None:
        rows = [channel_rows(value, self.axis) for value in (x, top / self.levels, self.wanted)]
        x_some, step, wanted = (drawn(row, max(1, VALUES // len(row))) for row in rows)
        steps, low = x_some / step, -self.levels if self.signed else 0
        errors = [
            (steps + start).floor_().clamp_(low, self.levels).mul_(step).sub_(wanted)
            .square_().mean(1) for start in STARTS.tolist()
        ]  # fmt: skip
        self.errors = self.errors + torch.stack(errors)
        best = STARTS.to(x)[self.errors.argmin(0)]
        self.best = best.view(shape_of(x, self.axis))


def start_fits(quantised: Program, sites: Iterable[Site], per_channel: bool) -> dict[str, StartFit]:
    """A fit for every clip whose ceiling was calibrated, by its name."""
    axes = {s.node.name: s.axis if per_channel else None for s in sites if s.needs_ceiling}
    return {
        node.name: StartFit(node, axes[node.name])
        for node in quantised.nodes
        if Clip.found(node) and node.name in axes
    }


def with_starts(
    program: Program, constants: Mapping[str, Tensor], fits: Mapping[str, StartFit]
) -> tuple[Program, dict[str, Tensor]]:
    """The quantised network whose clips round where the fits say, and its constants."""
    starts = {start_name(name): fit.best for name, fit in fits.items()}

    def started(node: Node) -> Node:
        if node.name not in fits:
            return node
        clip = replace(Clip.of(node), v_init=Ref(start_name(node.name)))
        return clip.node(node.name, node.layer)

    nodes = tuple(map(started, program.nodes))
    return replace(program, nodes=nodes), {**constants, **starts}
