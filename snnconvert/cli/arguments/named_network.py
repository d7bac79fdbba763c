"""The network that a command is about."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import Tensor, nn

from snnconvert.checkpoint.checkpoint import Checkpoint
from snnconvert.common.denoises import facts_of
from snnconvert.conversion.capture.captured_network import CapturedNetwork
from snnconvert.models.family import config_of

REPORTED_BATCHES = 8  # of the calibration data, in the report of a conversion


@dataclass
class NamedNetwork:
    """A network to check or convert.

    Attributes:
        name: for messages.
        model: the network.
        examples: arguments of one call, None where the file knows them itself.
        batches: calibration inputs, None where there are none.
        held_out: inputs to report on, where they are others.
        checkpoint: that it comes from, if it is one of ours.
        float_ann: the float network beside a quantised one.
        data_range: (low, high) of clean data of a denoiser, where they were noised for it.
        stage: of `model` in that checkpoint.
    """

    name: str
    model: nn.Module
    examples: tuple[Tensor, ...] | None
    batches: list[Any] | None = None
    held_out: list[Any] | None = None
    checkpoint: Checkpoint | None = None
    float_ann: nn.Module | None = None
    stage: str = "ann"
    data_range: tuple[float, float] | None = None

    def on(self, device: torch.device) -> NamedNetwork:
        """The same networks and inputs there."""

        def moved(call: Any) -> Any:
            return None if call is None else tuple(value.to(device) for value in call)

        def all_moved(calls: list[Any] | None) -> list[Any] | None:
            return None if calls is None else [moved(call) for call in calls]

        return replace(
            self, model=self.model.to(device), examples=moved(self.examples),
            batches=all_moved(self.batches), held_out=all_moved(self.held_out),
            float_ann=None if self.float_ann is None else self.float_ann.to(device),
        )  # fmt: skip

    @property
    def known(self) -> dict[str, Any]:
        """What a denoiser from elsewhere says of itself; {} of one of ours, which has a recipe."""
        return facts_of(self.model) if self.checkpoint is None else {}

    @property
    def quantised(self) -> bool:
        """Whether `model` was trained with quantised clips."""
        return self.stage != "ann"

    @property
    def levels(self) -> int:
        """Of the quantised clips that `model`, a quantised one, was trained with."""
        if isinstance(self.model, CapturedNetwork):
            return self.model.levels
        return int(config_of(self.model).levels)

    def reported(self) -> list[Any]:
        """The inputs that a report is about: all that were held out, or some of the others."""
        return self.held_out or (self.batches or [self.examples])[:REPORTED_BATCHES]
