"""A denoiser's predictions as samplers take them: what lies beyond the range of the data is cut."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from torch import Tensor, nn

from snnconvert.common.denoises import facts_of
from snnconvert.conversion.graph.values import leaves
from snnconvert.diffusion.correction import CORRECTABLE
from snnconvert.diffusion.denoiser import Denoiser
from snnconvert.diffusion.times import steps_at
from snnconvert.report.measures.difference import Difference


class AsClipped:
    """How far two denoisers are apart once the clean images that they mean are clipped.

    Args:
        network: either of them; it says its prediction, schedule and range of the data.
        time: which input is the diffusion time; None where there is none.
    """

    def __init__(self, network: nn.Module, time: int | None) -> None:
        facts = facts_of(network)
        known = facts.keys() >= {"prediction", "schedule", "data_range"}
        self.known = known and facts["prediction"] in CORRECTABLE
        self.facts, self.time, self.difference = facts, time, Difference()

    def add(self, inputs: Sequence[Tensor], found: Any, wanted: Any) -> None:
        """One call: its inputs, the noised images [B, ...] first, and the two predictions."""
        if not self.known or self.time is None:
            return
        x, t, noise = inputs[0], inputs[self.time].flatten(), self.facts["schedule"]
        t = steps_at(t.float(), len(noise), self.facts.get("t_range"))
        point = noise.per_sample(t.expand(len(x)), x)
        kept = [
            Denoiser(
                lambda x, t, output=output: leaves(output)[0],  # type: ignore[misc]
                noise,
                prediction=self.facts["prediction"],
                clip=self.facts["data_range"],
            ).predicted(x, point)
            for output in (found, wanted)
        ]
        self.difference.add(*kept)

    def to_dict(self) -> dict[str, Any] | None:
        """As `Difference.to_dict`; None where nothing could be compared."""
        return self.difference.to_dict() if self.difference.scale else None
