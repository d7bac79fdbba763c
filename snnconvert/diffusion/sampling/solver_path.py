"""A solver's path as calibration follows it: what a network meets when it samples."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from snnconvert.common.checks import set_integers
from snnconvert.common.randomness import LARGEST_SEED, stream_seed
from snnconvert.diffusion.denoiser import checked_prediction, checked_range
from snnconvert.diffusion.noise import SampleNoise
from snnconvert.diffusion.sampling.plans import Network, Plan, plan, run
from snnconvert.diffusion.schedule import NoiseLevels, as_schedule
from snnconvert.diffusion.times import Range, checked_t_range
from snnconvert.errors import InputError

VALUES = 1 << 14  # that all samples of a path hold together
SAMPLES = (16, 1024)  # the least and the most where their number is not given
PARTS = ("usual", "far", "judged")
FAR = 3.72  # standard deviations: one drawing in ten thousand exceeds them
FAR_SHARE = 4  # every so many of the judged samples starts as far out


@dataclass(frozen=True)
class SolverPath:
    """Which way of sampling a converted denoiser must stand: `convert(..., path=SolverPath())`.

    Args:
        schedule: a Schedule, a tensor of betas, or None for DDPM's, as in `sample`.
        prediction: what the network predicts, as in `sample`; None: what it says, or "eps".
        solver, steps, grid, clip: as in `sample`.
        t_range: the network's times at the cleanest and at the noisiest diffusion step, as in
            `sample`; None: what it says, or the numbers of the steps. Kept with the network.
        data_range: (low, high) of the clean data, kept with the converted network for `clip=True`.
        samples: drawn at once; None: by the size of x, 16 ... 1,024.
        passes: how often the converted network is calibrated on what it visited itself.
        seed: 0 ... 2^31 - 1, of the noise that the paths start from.

    Raises:
        InputError: an option out of its range.
    """

    schedule: NoiseLevels | Tensor | Sequence[float] | None = None
    prediction: str | None = None
    solver: str = "ddim"
    steps: int = 20
    grid: str | Sequence[float] | None = None
    clip: bool | tuple[float, float] = False
    t_range: Range | None = None
    data_range: tuple[float, float] | None = None
    samples: int | None = None
    passes: int = 2
    seed: int = 0

    def __post_init__(self) -> None:
        object.__setattr__(self, "schedule", as_schedule(self.schedule))
        if self.prediction is not None:
            checked_prediction(self.prediction)
        if self.t_range is not None:
            object.__setattr__(self, "t_range", checked_t_range(self.t_range))
        if self.data_range is not None:
            object.__setattr__(self, "data_range", checked_range(self.data_range))
        set_integers(self, {"passes": 0, "seed": 0}, "path: ")
        if self.samples is not None:
            set_integers(self, {"samples": 1}, "path: ")
        if self.seed > LARGEST_SEED:
            raise InputError(f"path: seed: found {self.seed}, allowed are 0 ... {LARGEST_SEED}")
        if self._plan().adaptive:
            raise InputError("path: adaptive steps differ from network to network; choose a grid")

    def _plan(self) -> Plan:
        schedule = as_schedule(self.schedule)
        options: dict[str, Any] = {"clip": self.clip}
        if self.prediction is not None:
            options["prediction"] = self.prediction
        steps = min(self.steps, len(schedule)) if isinstance(self.steps, int) else self.steps
        return plan(self.solver, steps, schedule, self.grid, **options)

    @torch.no_grad()
    def follow(self, network: Network, like: Tensor, part: str) -> Tensor:
        """Where the solver ends, [samples, ...], from starts that depend on `part` alone.

        Args:
            network: (x, t) -> prediction.
            like: [B, ...], an x of the form wanted.
            part: "usual" starts, "far" ones, as rare as one in ten thousand, or other ones of
                both kinds to judge by ("judged").
        """
        each = like[0].numel()
        count = self.samples or min(max(VALUES // max(each, 1), SAMPLES[0]), SAMPLES[1])
        first = PARTS.index(part) * count
        seeds = [stream_seed(self.seed, first + i, "paths") for i in range(count)]
        noise = SampleNoise(seeds)
        x = noise.normal(like.shape[1:])
        far = {"usual": [], "far": range(count), "judged": range(0, count, FAR_SHARE)}[part]
        for row in far:
            x[row] *= far_norm(each) / float(x[row].norm())
        return run(self._plan(), network, x.to(like), noise)[0]


def far_norm(size: int) -> float:
    """The norm that one standard normal vector of `size` numbers in ten thousand exceeds.

    The chi-squared quantile by Wilson and Hilferty (1931).
    """
    spread = 2 / (9 * size)
    return math.sqrt(size * (1 - spread + FAR * math.sqrt(spread)) ** 3)
