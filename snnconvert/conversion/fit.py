"""How thresholds, biases and weights are fitted to calibration data: the options of `convert`."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from snnconvert.conversion.over_t import check_rows
from snnconvert.conversion.thresholds import check_criterion
from snnconvert.conversion.weights import WeightCalibration, weight_calibration
from snnconvert.errors import InputError


@dataclass(frozen=True)
class Fit:
    """What to fit, and how; `convert` says what the options mean.

    Attributes:
        starts: fit each channel's `v_init`.

    Raises:
        InputError: an option out of its range.
    """

    threshold: str = "mse"
    per_channel: bool = True
    bias_correction: bool = False
    thresholds_over_t: int = 1
    t_argument: str | None = None
    weights: str | WeightCalibration = "kept"
    starts: bool = False

    def __post_init__(self) -> None:
        check_criterion(self.threshold)
        check_rows(self.thresholds_over_t)
        weight_calibration(self.weights)
        if self.t_argument is not None and self.thresholds_over_t == 1:
            raise InputError(
                f"t_argument: found {self.t_argument!r}, but thresholds do not depend on it: give "
                "thresholds_over_t a number of rows above 1, e.g. 8"
            )

    @property
    def training(self) -> WeightCalibration | None:
        """How weights are trained; None: they are kept."""
        return weight_calibration(self.weights)

    def to_dict(self) -> dict[str, Any]:
        """What a report repeats."""
        return {
            "threshold": self.threshold, "per_channel": self.per_channel,
            "bias_correction": self.bias_correction,
        }  # fmt: skip
