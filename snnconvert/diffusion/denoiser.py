"""A network as a solver sees it: the clean image or the noise in x, at a counted call each."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import torch
from torch import Tensor

from snnconvert.common.checks import checked_number
from snnconvert.common.denoises import PREDICTIONS, facts_of
from snnconvert.common.registry import nearest
from snnconvert.diffusion.correction import Correction
from snnconvert.diffusion.linear import plus
from snnconvert.diffusion.objectives import clean_of
from snnconvert.diffusion.schedule import CLEAN, NoiseLevels, Point, Schedule, as_schedule
from snnconvert.diffusion.times import Caller, Range, agreed
from snnconvert.errors import InputError

DYNAMIC_RATIO = 0.995  # quantile of dynamic thresholding where `True` is given


def checked_prediction(prediction: str) -> str:
    """`prediction` if it is one of PREDICTIONS, else InputError."""
    if prediction not in PREDICTIONS:
        raise InputError(
            f"prediction: found {prediction!r}, {nearest(str(prediction), PREDICTIONS)}"
            f"allowed: {', '.join(PREDICTIONS)}"
        )
    return prediction


def prediction_for(network: object, given: str | None) -> str:
    """What `network` predicts: as given, as it says itself, or else "eps".

    Raises:
        InputError: an unknown prediction, or one that contradicts the network.
    """
    own: str | None = facts_of(network).get("prediction")
    prediction = checked_prediction(given or own or "eps")
    if own not in (None, prediction):
        raise InputError(
            f"prediction: found {prediction!r}, but this network predicts {own}; leave it out"
        )
    return prediction


def schedule_for(network: object, given: Any) -> NoiseLevels:
    """The noise of `network`: as given, as it says itself, or else DDPM's.

    Raises:
        InputError: no schedule, or a discrete one that is not the network's own.
    """
    own = facts_of(network).get("schedule")
    if given is None and isinstance(own, NoiseLevels):
        return own
    schedule = as_schedule(given)
    if isinstance(own, Schedule) and isinstance(schedule, Schedule) and not own.is_like(schedule):
        raise InputError(
            "schedule: this network was trained with another one; leave it out (network.schedule "
            "is its own)"
        )
    return schedule


def t_range_for(network: object, given: object) -> Range | None:
    """The times that `network` takes, as it says itself or as given; see `times.agreed`."""
    return agreed(facts_of(network).get("t_range"), given, "this network")


def checked_range(clip: object) -> tuple[float, float]:
    """(low, high), or InputError."""
    pair = list(clip) if isinstance(clip, (tuple, list)) else []
    numbers = [checked_number("clip", value, "(-inf, inf)") for value in pair]
    if len(numbers) != 2 or not numbers[0] < numbers[1]:
        raise InputError(
            f"clip: found {clip!r}, allowed are True, False and (low, high), the range of the data"
        )
    return numbers[0], numbers[1]


class Denoiser:
    """Calls `network(x [B, ...], t [B]) -> prediction` and counts the calls.

    Args:
        network: predicts one value per element of x; t is float, in x's precision if that is
            float64, else float32, or has the form that the network takes (`times.Caller`).
        schedule: the noise it was trained with.
        prediction: what it predicts: "eps" (the noise), "x0" (the clean image),
            "v" (alpha * eps - sigma * x0; Salimans and Ho 2022) or "x_prev" (the mean of x one
            diffusion step earlier). None: what the network says of itself (`load` and `convert`
            see to that), or else "eps".
        clip: keep the clean image in (low, high); True: in the range of the data, where the
            network knows it, or else in [-1, 1].
        correction: of a quantised or spiking network, as `measure_correction` found it: slope and
            mean of each prediction are taken back, and stochastic solvers draw less noise.
        thresholding: dynamic thresholding of the clean image (Saharia et al. 2022): the quantile
            s of its absolute values, per sample and at least 1; clamp to [-s, s], divide by s.
            True means 0.995. In place of `clip`.
        t_range: the network's times at the cleanest and at the noisiest diffusion step, such as
            (0, 0.999) where it takes t / 1000. None: what the network says of itself, or else the
            numbers of the steps.
        arguments: further ones of every call, by name; of a tensor [B, ...] each sample has a row.

    Attributes:
        nfe: network evaluations so far.
        on_call: called after each evaluation with (x, t, x0), t a number or [B].
    """

    def __init__(
        self,
        network: Callable[[Tensor, Tensor], Tensor],
        schedule: NoiseLevels,
        *,
        prediction: str | None = None,
        clip: bool | tuple[float, float] = False,
        thresholding: bool | float = False,
        correction: Correction | None = None,
        t_range: Range | None = None,
        arguments: Mapping[str, Any] | None = None,
    ) -> None:
        prediction = prediction_for(network, prediction)
        schedule_for(network, schedule)
        ratio = DYNAMIC_RATIO if thresholding is True else thresholding
        if ratio is not False:
            ratio = checked_number("thresholding", ratio, "[0, 1]", note=", True and False")
            if clip is not False:
                raise InputError(
                    "clip, thresholding: give one of them; thresholding bounds each clean image by "
                    "a quantile of its own"
                )
        if not isinstance(correction, Correction | None):
            raise InputError(
                f"correction: found {type(correction).__name__}, needed is what "
                "`measure_correction` gives"
            )
        if correction is not None:
            correction.check(prediction, schedule)
        self.call = Caller(network, len(schedule), t_range_for(network, t_range), arguments)
        self.correction = correction
        self.schedule = schedule
        self.prediction = prediction
        own = facts_of(network).get("data_range", (-1.0, 1.0))
        self.clip = checked_range(own if clip is True else clip) if clip is not False else None
        self.ratio = float(ratio)
        self.nfe = 0
        self.on_call: Callable[[Tensor, float | Tensor, Tensor], object] | None = None

    def clean(self, x: Tensor, point: Point) -> Tensor:
        """One evaluation: x0, corrected as asked.

        The noise that belongs to it is (x - alpha * x0) / sigma; solvers that go on with the
        network's own after a correction drift (the usual mistake).
        """
        return self._seen(x, point, self._clean_in(x, self._evaluated(x, point), point))

    def noise(self, x: Tensor, point: Point) -> Tensor:
        """One evaluation: eps, such that x = alpha * x0 + sigma * eps with x0 as in `clean`."""
        output = self._evaluated(x, point)
        own = self.prediction == "eps" and not (self.clip or self.ratio)
        if own and self.on_call is None:
            return output
        x0 = self._seen(x, point, self._clean_in(x, output, point))
        return output if own else plus(x, -point.alpha, x0).div_(point.sigma)

    def predicted(self, x: Tensor, point: Point) -> Tensor:
        """One evaluation: the prediction (eps, v or x0) that x0, as in `clean`, stands for."""
        output = self._evaluated(x, point)
        if not (self.clip or self.ratio):
            return output
        x0 = self._seen(x, point, self._clean_in(x, output, point))
        if self.prediction == "x0":
            return x0
        noise, signal = (1.0, point.alpha) if self.prediction == "eps" else (point.alpha, 1.0)
        return plus(noise * x, -signal, x0).div_(point.sigma)

    def _evaluated(self, x: Tensor, point: Point) -> Tensor:
        """What the network answers, counted and checked."""
        self.nfe += 1
        output = self.call(x, point.t)
        return output if self.correction is None else self.correction.corrected(output, point.t)

    def noise_to_draw(self, std: float, of_x0: float, point: Point) -> float:
        """`std` less what the error of the prediction at `point` brings in already.

        of_x0: the factor with which the solver's step takes the clean image in.
        """
        if self.correction is None:
            return std
        per_unit = {"eps": point.sigma / point.alpha, "v": point.sigma, "x0": 1.0}
        error = self.correction.variance_at(point.t) * (of_x0 * per_unit[self.prediction]) ** 2
        left: float = max(std**2 - error, 0.0) ** 0.5
        return left

    def _clean_in(self, x: Tensor, output: Tensor, point: Point) -> Tensor:
        """x0 as the network predicts it."""
        if self.prediction == "x_prev":
            return self._clean_from_previous(x, output, point)
        return clean_of(self.prediction, output, x, point)

    def _seen(self, x: Tensor, point: Point, x0: Tensor) -> Tensor:
        """`x0` corrected, and shown to `on_call`."""
        if self.ratio:
            flat = x0.flatten(1).abs()
            limit = torch.quantile(flat, self.ratio, dim=1).clamp_min(1)
            limit = limit.view(-1, *(1,) * (x0.ndim - 1))
            x0 = x0.clamp(-limit, limit) / limit
        elif self.clip:
            x0 = x0.clamp(*self.clip)
        if self.on_call is not None:
            self.on_call(x, point.t, x0)
        return x0

    def _clean_from_previous(self, x: Tensor, mean: Tensor, point: Point) -> Tensor:
        """x0 from the mean of q(x_{t-1} | x_t, x_0), Ho et al. 2020, equation 7, solved for x_0.

        s is the diffusion step before t, for which the network was trained, whatever the grid.
        """
        if isinstance(point.t, Tensor):
            earlier = self.schedule.per_sample((point.t.double() - 1).clamp_min(CLEAN), x)
        else:
            earlier = self.schedule.points([max(point.t - 1, CLEAN)])[0]
        ratio = point.alpha / earlier.alpha
        leftover = ratio * earlier.sigma**2 * x
        result: Tensor = (mean * point.sigma**2 - leftover) / (earlier.alpha * (1 - ratio**2))
        return result
