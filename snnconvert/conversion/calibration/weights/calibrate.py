"""Weights of a quantised network calibrated: by blocks, then by the output; bounded memory."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from snnconvert.conversion.calibration.batches import Kept
from snnconvert.conversion.calibration.options import WeightCalibration
from snnconvert.conversion.calibration.weights.blocks import find_blocks
from snnconvert.conversion.calibration.weights.distil import distil
from snnconvert.conversion.calibration.weights.reconstruct import Networks, reconstruct
from snnconvert.conversion.execution.interpreter import Interpreter
from snnconvert.conversion.graph.program import Node

CACHE_BYTES = 1 << 30  # values between two blocks, of all inputs, in both networks
STEP_BYTES = 1 << 30  # values and gradients of one training step
PER_VALUE = 4  # copies of a value that a training step holds: itself, saved, masks, gradient


@dataclass(frozen=True)
class Sizes:
    """Bytes that one input takes.

    Attributes:
        cache: between two blocks, where most, in both networks.
        block: in a training step of the largest block.
        network: in a training step of all of it.
    """

    cache: int
    block: int
    network: int


def calibrate_weights(
    networks: Networks, constants: Mapping[str, Tensor], kept: Kept, options: WeightCalibration
) -> tuple[dict[str, Tensor], dict[str, Any]]:
    """New constants of the quantised network, and what was done.

    Args:
        constants: of both networks; left as they are.
        kept: calibration inputs; as many are used as fit into `CACHE_BYTES`.
    """
    sizes = measured_sizes(networks, constants, kept)
    report: dict[str, Any] = options.to_dict()
    new = dict(constants)
    if options.block_steps:
        calls = batches(kept, options.batch, sizes.block, sizes.cache)
        report["inputs"] = sum(rows_in(kept, call) for call in calls)
        new, report["blocks"] = reconstruct(networks, new, calls, options)
    if options.output_steps:
        calls = batches(kept, options.batch, sizes.network, 0)
        report["inputs"] = sum(rows_in(kept, call) for call in calls)
        new, report["output"] = distil(networks, constants, new, calls, options)
    return new, report


def batches(kept: Kept, batch: int, step_bytes: int, cache_bytes: int) -> list[list[Tensor]]:
    """The kept inputs as training batches that fit into memory; always at least one."""
    rows = max(1, min(batch, STEP_BYTES // max(1, step_bytes)))
    calls = list(kept.calls(rows))
    that_fit = CACHE_BYTES // max(1, cache_bytes)
    in_call = rows if kept.along else 1
    return calls[: max(1, that_fit // in_call)]


def rows_in(kept: Kept, call: list[Tensor]) -> int:
    return len(call[kept.along[0]]) if kept.along else 1


@torch.no_grad()
def measured_sizes(networks: Networks, constants: Mapping[str, Tensor], kept: Kept) -> Sizes:
    """What one input takes, from a pass of two."""
    call = next(iter(kept.calls(2)))
    rows = rows_in(kept, call)
    bytes_of = {n: v.numel() * v.element_size() / rows
                for n, v in zip(networks.quantised.inputs, call, strict=True)}  # fmt: skip

    def measure(node: Node, value: Any) -> Any:
        tensors = value if isinstance(value, (list, tuple)) else [value]
        bytes_of[node.name] = sum(
            v.numel() * v.element_size() / rows for v in tensors if isinstance(v, Tensor)
        )
        return value

    Interpreter(networks.quantised).run(constants, call, measure)
    blocks = find_blocks(networks.quantised)
    parts = [block.part_of(networks.quantised, constants) for block in blocks]
    inside = [sum(bytes_of[n] for n in block.names) for block in blocks]
    cache = 0.0
    for number in range(len(blocks)):
        made = {n for block in blocks[:number] for n in block.names} | set(parts[0].inputs)
        made |= set(networks.quantised.inputs)
        later = {n for part in parts[number:] for n in part.inputs}
        cache = max(cache, sum(bytes_of[name] for name in made & later))
    return Sizes(
        math.ceil(2 * cache), math.ceil(PER_VALUE * max(inside)), math.ceil(PER_VALUE * sum(inside))
    )
