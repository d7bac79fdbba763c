"""Where the ceilings of a quantised stage start: the best for the float one's activations."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

import torch
from torch import Tensor, nn

from snnconvert.common.subsample import drawn
from snnconvert.conversion.calibration.thresholds import CANDIDATES, least
from snnconvert.operators.clip import HALF, factors_of, quantised

VALUES_PER_BATCH = 16_384  # recorded per layer and batch: memory stays bounded


def best_ceiling(values: Tensor, levels: int) -> Tensor:
    """The ceiling (0-dim, > 0) that minimises the mean squared error of the quantised clip.

    Args:
        values: inputs of the activation, any shape.
        levels: quantisation steps above zero.
    """
    target = values.float().relu()
    largest = target.max().clamp_min(torch.finfo(torch.float32).eps)  # a dead layer keeps > 0
    candidates = largest * torch.arange(1, CANDIDATES + 1) / CANDIDATES

    def error(ceiling: Tensor) -> Tensor:
        factors = factors_of(ceiling, levels, HALF, target)
        return (quantised(target, factors, 0, levels) - target).square().mean()

    return least(list(candidates), error)


def relu_ceilings(
    network: nn.Module, batches: Iterable[tuple[Any, ...]], levels: int, per_channel: bool
) -> dict[str, Tensor]:
    """Best ceiling of each `nn.ReLU` of `network` by module name, [] or [C] each.

    `batches` are argument tuples of the network, on its device; memory does not grow with the batch
    size. The ceilings lie on the CPU.
    """
    recorded: dict[str, list[Tensor]] = {}

    def recorder(name: str) -> Callable[[nn.Module, tuple[Tensor, ...]], None]:
        def record(_module: nn.Module, inputs: tuple[Tensor, ...]) -> None:
            channels = inputs[0].detach().float().transpose(0, 1).flatten(1)  # [C, values]
            wanted = max(1, VALUES_PER_BATCH // len(channels))
            recorded.setdefault(name, []).append(drawn(channels, wanted).cpu().clone())

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
