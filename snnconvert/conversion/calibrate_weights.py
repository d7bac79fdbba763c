"""Weights of a quantised network calibrated: by blocks, then by the output; memory bounded."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import Tensor
from tqdm import tqdm

from snnconvert.conversion.interpret import Interpreter
from snnconvert.conversion.reconstruct import Networks, reconstruct, relative_error
from snnconvert.conversion.relative import RelativeAdam
from snnconvert.conversion.signature import leaves
from snnconvert.conversion.stream import Kept
from snnconvert.conversion.weights import WeightCalibration


def calibrate_weights(
    networks: Networks, constants: Mapping[str, Tensor], kept: Kept, options: WeightCalibration
) -> tuple[dict[str, Tensor], dict[str, Any]]:
    """New constants, and what was done."""
    calls = list(kept.calls(options.batch))
    report: dict[str, Any] = {**options.to_dict(), "inputs": len(kept.rows)}
    new = dict(constants)
    if options.block_steps:
        new, report["blocks"] = reconstruct(networks, new, calls, options)
    if options.output_steps:
        new = distil(networks, constants, new, calls, options)
    return new, report


def distil(networks, original, constants, calls, options):
    plain, rounded = Interpreter(networks.plain), Interpreter(networks.quantised)
    with torch.no_grad():
        wanted = [leaves(plain.run(original, call)) for call in calls]
    read = {n for node in networks.quantised.nodes for n in node.refs}
    names = [n for n in networks.trainable if n in read]
    opt = RelativeAdam({n: constants[n] for n in names}, options.output_rate, options.output_steps)
    order = torch.Generator().manual_seed(options.seed)
    for _ in tqdm(range(options.output_steps), desc="output", unit="step", disable=None):
        i = int(torch.randint(len(calls), (), generator=order))
        found = leaves(rounded.run({**constants, **opt.values()}, calls[i]))
        opt.step(relative_error(found, wanted[i]))
    return {**constants, **opt.result()}
