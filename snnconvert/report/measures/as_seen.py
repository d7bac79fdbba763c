"""What of an output counts: of a denoiser's predictions only what lies in the range of the data."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from snnconvert.common.denoises import facts_of
from snnconvert.conversion.calibration.over_t import time_argument
from snnconvert.conversion.graph.values import leaves
from snnconvert.conversion.spiking.network import SpikingNetwork
from snnconvert.diffusion.correction import CORRECTABLE
from snnconvert.diffusion.denoiser import Denoiser
from snnconvert.diffusion.times import steps_at
from snnconvert.errors import InputError


class AsSeen:
    """Outputs as their users see them.

    Samplers keep the clean image that a prediction means in the range of the data. So of a denoiser
    that knows its prediction, schedule and range the prediction is taken that stands for the
    clipped image; any other output is left as it is, and one at times that are no diffusion steps.

    Args:
        snn: the spiking network that reports are about; the outputs may be those of its ANN too.

    Attributes:
        clips: whether it clips.
    """

    def __init__(self, snn: SpikingNetwork) -> None:
        self.program, self.facts = snn.program, facts_of(snn)
        known = self.facts.keys() >= {"prediction", "schedule", "data_range"}
        self.clips = known and self.facts["prediction"] in CORRECTABLE
        try:
            self.time = self.program.inputs.index(time_argument(self.program, None)[1])
        except InputError:
            self.clips = False

    def __call__(self, args: Sequence[Any], kwargs: Mapping[str, Any], output: Any) -> Any:
        """The `output` of a call with these arguments."""
        found = leaves(output)
        inputs = self.program.bind(args, kwargs)
        if not self.clips or len(found) != 1 or found[0].shape != inputs[0].shape:
            return output
        x, t, noise = inputs[0], inputs[self.time].flatten().float(), self.facts["schedule"]
        t = steps_at(t, len(noise), self.facts.get("t_range"))
        scaled = t.max() <= 1 and bool((t != t.round()).any())  # times of an unknown scale
        if scaled or t.min() < 0 or t.max() > len(noise) - 1:
            return output
        denoiser = Denoiser(
            lambda x, t: found[0],
            noise,
            prediction=self.facts["prediction"],
            clip=self.facts["data_range"],
        )
        return denoiser.predicted(x, noise.per_sample(t.expand(len(x)), x))
