"""The whole quantised network trained to give the float one's output, without labels."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import torch
from torch import Tensor
from tqdm import tqdm

from snnconvert.conversion.calibration.options import WeightCalibration
from snnconvert.conversion.calibration.weights.reconstruct import Networks, relative_squared_error
from snnconvert.conversion.calibration.weights.relative_adam import RelativeAdam
from snnconvert.conversion.execution.interpreter import Interpreter
from snnconvert.conversion.graph.nodes import Clip
from snnconvert.conversion.graph.program import Program
from snnconvert.conversion.graph.values import leaves

REFERENCE_LEVELS = 4  # finer steps need smaller corrections


def levels_of(quantised: Program) -> int:
    """Steps above zero of the quantised activations; of the finest where they differ."""
    return max(Clip.of(node).levels for node in quantised.nodes if Clip.found(node))


@torch.enable_grad()
def distil(
    networks: Networks,
    original: Mapping[str, Tensor],
    constants: Mapping[str, Tensor],
    calls: Sequence[list[Tensor]],
    options: WeightCalibration,
) -> tuple[dict[str, Tensor], dict[str, float]]:
    """Constants trained on, and the output's relative squared error before and after.

    Args:
        original: constants of the float network.
        constants: of the quantised one, where training starts; kept where it does not help.
        calls: inputs, one training batch each.
    """
    plain, rounded = Interpreter(networks.plain), Interpreter(networks.quantised)
    with torch.no_grad():
        wanted = [leaves(plain.run(original, call)) for call in calls]
    read = set(networks.quantised.readers())
    names = sorted(name for name in networks.trainable if name in read)
    rate = options.output_rate * REFERENCE_LEVELS / levels_of(networks.quantised)
    optimizer = RelativeAdam(
        {name: constants[name] for name in names}, networks.ceilings, min(rate, 1.0),
        options.output_steps,
    )  # fmt: skip
    order = torch.Generator().manual_seed(options.seed)

    @torch.no_grad()
    def error(values: Mapping[str, Tensor]) -> float:
        return sum(
            float(relative_squared_error(leaves(rounded.run(values, call)), targets))
            for call, targets in zip(calls, wanted, strict=True)
        ) / len(calls)

    for _ in tqdm(range(options.output_steps), desc="output", unit="step", disable=None):
        index = int(torch.randint(len(calls), (), generator=order))
        found = leaves(rounded.run({**constants, **optimizer.values()}, calls[index]))
        optimizer.step(relative_squared_error(found, wanted[index]))
    trained = {**constants, **optimizer.result()}
    before, after = error(constants), error(trained)
    best = trained if after < before else dict(constants)
    return best, {"before": before, "after": min(before, after)}
