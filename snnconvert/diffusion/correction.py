"""Sampling that knows how a quantised or spiking network deviates from the float one.

Over real noised images the prediction q of the one is regressed on the prediction f of the other:

    q = slope(t) * f + mean(t) + rest,    Var rest = variance(t)

Slope and mean are errors with a sign, which a solver takes back; the rest is noise that it need not
draw (PTQD, He et al. 2023). The usual mistake is to leave the rest in: stochastic samples then
carry more noise than the schedule says.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from snnconvert.diffusion.analytic import at_time
from snnconvert.diffusion.schedule import NoiseLevels
from snnconvert.errors import InputError

CORRECTABLE = ("eps", "v", "x0")  # predictions whose error is a plain number
LEAST_SLOPE = 0.1  # a prediction that hardly follows the float one cannot be scaled up to it


@dataclass(frozen=True)
class Correction:
    """What `measure_correction` found, at every diffusion step; float64.

    Attributes:
        prediction: what both networks predict: "eps", "v" or "x0".
        slope: [diffusion_steps].
        mean: [diffusion_steps, C], of each channel.
        variance: [diffusion_steps], of the rest; in units of the prediction.
    """

    prediction: str
    slope: Tensor
    mean: Tensor
    variance: Tensor

    def __post_init__(self) -> None:
        steps = len(self.slope)
        shapes = [tuple(value.shape) for value in (self.slope, self.mean, self.variance)]
        if self.mean.ndim != 2 or shapes != [(steps,), (steps, shapes[1][1]), (steps,)]:
            raise InputError(f"correction: found shapes {shapes}, needed are [N], [N, C] and [N]")
        usable = self.slope.isfinite().all() and self.mean.isfinite().all()
        if not usable or not bool((self.slope >= LEAST_SLOPE).all() and (self.variance >= 0).all()):
            raise InputError(
                f"correction: slopes from {LEAST_SLOPE} up, finite means and variances from 0 up "
                f"are needed, found slopes down to {self.slope.min():.3g}; the network hardly "
                "follows the float one"
            )

    def check(self, prediction: str, schedule: NoiseLevels) -> None:
        """InputError unless it is of networks with this prediction and schedule."""
        if prediction != self.prediction:
            raise InputError(
                f"correction: was measured on networks that predict {self.prediction}, this one "
                f"predicts {prediction}; measure it again"
            )
        if len(self.slope) != len(schedule):
            raise InputError(
                f"correction: was measured at {len(self.slope)} diffusion steps, the schedule has "
                f"{len(schedule)}; measure it again"
            )

    def corrected(self, output: Tensor, t: float | Tensor) -> Tensor:
        """(output - mean) / slope at t, a number or [B, 1, ...]; output [B, C, ...]."""
        if isinstance(t, Tensor):
            rows = [self.corrected(row[None], float(at)) for row, at in zip(output, t, strict=True)]
            return torch.cat(rows)
        left = min(int(max(t, 0)), len(self.slope) - 1)
        right = min(left + 1, len(self.slope) - 1)
        mean = torch.lerp(self.mean[left], self.mean[right], max(t, 0.0) - left)
        mean = mean.to(output).view(1, -1, *(1,) * (output.ndim - 2))
        return (output - mean).div_(at_time(self.slope.tolist(), max(t, 0.0)))

    def variance_at(self, t: float) -> float:
        """Of the rest that remains in a corrected prediction at t."""
        slope = at_time(self.slope.tolist(), max(t, 0.0))
        return at_time(self.variance.tolist(), max(t, 0.0)) / slope**2
