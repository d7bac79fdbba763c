"""The shortest way to what a spiking network computes."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import nn

from snnconvert.conversion.spiking.network import SpikingNetwork
from snnconvert.report.measures.as_seen import AsSeen
from snnconvert.report.measures.difference import Difference
from snnconvert.report.trials.calls import Call


def quick(snn: SpikingNetwork) -> SpikingNetwork:
    """The same values in one pass over counts where those are known to be the same."""
    return snn.with_config(simulate="counts", reset="call") if snn.config.exact else snn


@torch.no_grad()
def distance(
    snn: SpikingNetwork, wanted: Sequence[Any], calls: Sequence[Call]
) -> float:  # fmt: skip
    """Relative error of what `snn` returns against what is `wanted` of each call, as it is seen."""
    gap, seen = Difference(), AsSeen(snn)
    for (args, kwargs), exact in zip(calls, wanted, strict=True):
        gap.add(*(seen(args, kwargs, output) for output in (snn(*args, **kwargs), exact)))
    return gap.relative_error


@torch.no_grad()
def answers(network: nn.Module, calls: Sequence[Call]) -> list[Any]:
    """What `network` returns for each call."""
    return [network(*args, **kwargs) for args, kwargs in calls]
