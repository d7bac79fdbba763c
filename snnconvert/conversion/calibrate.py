"""Thresholds for activations that were trained without ceilings, from batches of inputs."""

from __future__ import annotations

import warnings
from collections.abc import Iterable
from dataclasses import dataclass, field, replace
from typing import Any

import torch
from torch import Tensor, nn

from snnconvert.conversion.histogram import Histogram
from snnconvert.conversion.interpret import Interpreter
from snnconvert.conversion.positions import drawn
from snnconvert.conversion.program import Node, Program, Ref
from snnconvert.conversion.rules import QUANTIZED_CLIP
from snnconvert.conversion.sites import Site
from snnconvert.conversion.stream import Kept, calls_of
from snnconvert.conversion.thresholds import ceilings
from snnconvert.errors import InputError
from snnconvert.quantizer import from_counts, to_counts

CANDIDATES = 100  # ceilings tried, evenly spaced up to the largest value seen
VALUES_PER_BATCH = 16_384  # recorded per layer and batch: memory stays bounded
CONVERGED = 0.15  # allowed relative difference between the ceilings of two halves of the data


@dataclass
class Calibration:
    """Ceilings found, and what the user should know about them.

    Attributes:
        ceilings: per site's node name, in a shape that broadcasts along the channels.
        inputs: number of calibration inputs.
        dead: channels that were zero on every input, by layer; they got their layer's median.
        unsettled: relative difference between the ceilings of the two halves of the data, for the
            layers where it is too large.
        kept: a sample of the inputs, for the passes that follow.
        bytes_per_input: of the largest activation.
        weights: what training the weights achieved, where that was asked for.
    """

    ceilings: dict[str, Tensor]
    inputs: int
    kept: Kept
    bytes_per_input: int = 1
    dead: dict[str, list[int]] = field(default_factory=dict)
    unsettled: dict[str, float] = field(default_factory=dict)
    weights: dict[str, Any] | None = None

    def to_dict(self) -> dict[str, Any]:
        return {
            "inputs": self.inputs,
            "dead_channels": self.dead,
            "unsettled": self.unsettled,
            "weights": self.weights,
        }


@torch.no_grad()
def calibrate(
    program: Program,
    constants: dict[str, Tensor],
    sites: list[Site],
    batches: Iterable[Any],
    *,
    levels: int,
    threshold: str = "mse",
    per_channel: bool = True,
) -> Calibration:
    """Ceilings of the sites that need one, from the float network's own activations.

    One pass over `batches`; memory does not grow with their number.

    Raises:
        InputError: unusable batches, or activations that are no finite numbers.
    """
    wanted = {site.node.name: site for site in sites if site.needs_ceiling}
    found: dict[str, Histogram] = {}
    shapes: dict[str, tuple[int, ...]] = {}
    kept, half, largest = Kept(program), 0, 1

    def visit(node: Node, value: Any) -> Any:
        nonlocal largest
        if isinstance(value, Tensor) and value.ndim:
            largest = max(largest, 4 * value.numel() // max(1, rows_in_call))
        if node.name in wanted:
            axis = wanted[node.name].axis if per_channel else None
            rows = rows_of(value, axis)
            shapes[node.name] = shape_of(value, axis)
            histogram = found.setdefault(node.name, Histogram(len(rows)))
            if len(value) > 1:
                histogram.add(rows_of(value[::2], axis), 0)
                histogram.add(rows_of(value[1::2], axis), 1)
            else:
                histogram.add(rows, half)
            if not bool(histogram.largest.isfinite().all()):
                raise InputError(
                    f"{node.layer or node.name}: its activation is NaN or infinite on the "
                    "calibration data; check weights and data"
                )
        return value

    interpreter = Interpreter(program)
    for call in calls_of(program, batches):
        kept.add(call)
        rows_in_call = len(call[kept.along[0]]) if kept.along else 1
        interpreter.run(constants, call, visit)
        half = 1 - half
    calibration = Calibration({}, kept.seen, kept, largest)
    for name, histogram in found.items():
        layer = wanted[name].node.layer or name
        _choose(calibration, name, layer, histogram, threshold, levels)
        calibration.ceilings[name] = calibration.ceilings[name].view(shapes[name])
    _warn(calibration)
    return calibration


def _choose(
    calibration: Calibration,
    name: str,
    layer: str,
    histogram: Histogram,
    threshold: str,
    levels: int,
) -> None:
    chosen = ceilings(histogram, threshold, levels)
    dead = chosen <= 0
    if bool(dead.any()):
        calibration.dead[layer] = dead.nonzero().flatten().tolist()
        alive = chosen[~dead]
        chosen = torch.where(dead, alive.median() if len(alive) else torch.tensor(1.0), chosen)
    calibration.ceilings[name] = chosen
    both = [ceilings(histogram, threshold, levels, half) for half in (0, 1)]
    if bool((histogram.values > 0).all()):
        gap = ((both[0] - both[1]).abs() / chosen)[~dead]
        difference = float(gap.median()) if len(gap) else 0.0
    else:
        difference = float("inf")
    if difference > CONVERGED:
        calibration.unsettled[layer] = difference


def _warn(calibration: Calibration) -> None:
    if calibration.unsettled:
        layer, worst = max(calibration.unsettled.items(), key=lambda item: item[1])
        warnings.warn(
            f"calibration has not converged after {calibration.inputs} inputs: ceilings of "
            f"{len(calibration.unsettled)} layers differ between two halves of the data "
            f"(most in {layer}, by {worst:.0%}); give more batches",
            stacklevel=6,
        )
    silent = [layer for layer, channels in calibration.dead.items() if channels]
    if silent:
        total = sum(map(len, calibration.dead.values()))
        warnings.warn(
            f"{total} channels in {len(silent)} layers were zero on all {calibration.inputs} "
            "calibration inputs; they got the median threshold of their layer "
            "(see `calibration` of the converted network)",
            stacklevel=6,
        )


def rows_of(value: Tensor, axis: int | None) -> Tensor:
    """[channels, values], or [1, values] without a channel axis."""
    if axis is None or value.ndim < 2:
        return value.reshape(1, -1)
    return value.movedim(axis, 0).flatten(1)


def shape_of(value: Tensor, axis: int | None) -> tuple[int, ...]:
    """Shape of one number per channel that broadcasts over `value`: [], [C] or [1, ..., C]."""
    if axis is None or value.ndim < 2:
        return ()
    axis %= value.ndim
    if axis == 1:
        return (value.shape[1],)
    return tuple(n if i == axis else 1 for i, n in enumerate(value.shape))


def place_quantizers(
    program: Program,
    constants: dict[str, Tensor],
    sites: list[Site],
    ceilings: dict[str, Tensor],
    levels: int,
) -> tuple[Program, dict[str, Tensor]]:
    """The quantised network: a quantised clip in place of, or behind, every activation."""
    by_name = {site.node.name: site for site in sites if site.activation is not None}
    nodes: list[Node] = []
    constants = dict(constants)
    for node in program.nodes:
        site = by_name.get(node.name)
        if site is None or site.activation is None:
            nodes.append(node)
            continue
        given = site.activation.ceiling
        ceiling = f"{node.name}_ceiling"
        constants[ceiling] = ceilings[node.name] if given is None else given
        source = node.args[0]
        if site.function is not None:
            source = Ref(f"{node.name}_before")
            nodes.append(replace(node, name=source.name))
        args = (source, Ref(ceiling), levels, site.activation.signed)
        nodes.append(Node(node.name, QUANTIZED_CLIP, args, {}, node.layer))
    return replace(program, nodes=tuple(nodes)), constants


def best_ceiling(values: Tensor, levels: int) -> Tensor:
    """The ceiling (0-dim, > 0) that minimises the mean squared error of the quantised clip.

    Args:
        values: inputs of the activation, any shape.
        levels: quantisation steps above zero.
    """
    target = values.float().relu()
    largest = target.max().clamp_min(torch.finfo(torch.float32).eps)  # a dead layer keeps > 0
    candidates = largest * torch.arange(1, CANDIDATES + 1) / CANDIDATES
    errors = [
        (from_counts(to_counts(target, c, levels, 0, levels), c, levels) - target).square().mean()
        for c in candidates
    ]
    return candidates[int(torch.stack(errors).argmin())]


def relu_ceilings(
    network: nn.Module, batches: Iterable[tuple[Any, ...]], levels: int, per_channel: bool
) -> dict[str, Tensor]:
    """Best ceiling of each `nn.ReLU` of `network` by module name, [] or [C] each.

    `batches` are argument tuples of the network; memory does not grow with the batch size.
    """
    recorded: dict[str, list[Tensor]] = {}

    def recorder(name: str):
        def record(_module: nn.Module, inputs: tuple[Tensor, ...]) -> None:
            channels = inputs[0].detach().float().transpose(0, 1).flatten(1)  # [C, values]
            wanted = max(1, VALUES_PER_BATCH // len(channels))
            recorded.setdefault(name, []).append(drawn(channels, wanted).clone())

        return record

    handles = [
        module.register_forward_pre_hook(recorder(name))
        for name, module in network.named_modules()
        if isinstance(module, nn.ReLU)
    ]
    try:
        with torch.no_grad():
            for batch in batches:
                network(*batch)
    finally:
        for handle in handles:
            handle.remove()
    ceilings = {}
    for name, parts in recorded.items():
        values = torch.cat(parts, dim=1)
        rows = [best_ceiling(row, levels) for row in values] if per_channel else None
        ceilings[name] = torch.stack(rows) if rows else best_ceiling(values, levels)
    return ceilings
