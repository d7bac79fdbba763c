"""How thresholds, biases and weights are fitted to calibration data: the options of `convert`."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from typing import Any

from snnconvert.common.checks import checked_number, set_integers
from snnconvert.conversion.calibration import check_criterion
from snnconvert.conversion.calibration.path import Path, check_path
from snnconvert.errors import InputError


@dataclass(frozen=True)
class WeightCalibration:
    """Options of `convert(weights=...)`.

    Attributes:
        block_steps: training steps of each block.
        output_steps: training steps of the whole network against the float one's output, after it.
        batch: inputs of one step.
        rate: relative change of a weight in one step, at the start; of Adam, block by block.
        output_rate: the same against the output, at 4 levels; the finer they are the smaller.
        quantised: share of the activations that is quantised while blocks are trained.
        seed: of what is drawn.
    """

    block_steps: int = 400
    output_steps: int = 0
    batch: int = 32
    rate: float = 0.01
    output_rate: float = 0.003
    quantised: float = 0.5
    seed: int = 0

    def __post_init__(self) -> None:
        least = {"block_steps": 0, "output_steps": 0, "batch": 1, "seed": 0}
        set_integers(self, least, "weights: ")
        for key in ("rate", "output_rate", "quantised"):
            number = checked_number(f"weights: {key}", getattr(self, key), "(0, 1]")
            object.__setattr__(self, key, number)
        if not self.block_steps and not self.output_steps:
            raise InputError("weights: no steps at all; use weights='kept' to leave them as are")

    def to_dict(self) -> dict[str, Any]:
        return asdict(self)


NAMED: dict[str, WeightCalibration | None] = {
    "kept": None,
    "blocks": WeightCalibration(),
    "distilled": WeightCalibration(block_steps=0, output_steps=600, output_rate=0.01),
}


def weight_calibration(weights: str | WeightCalibration) -> WeightCalibration | None:
    """The options behind a name, None for "kept".

    Raises:
        InputError: an unknown name, or something else.
    """
    if isinstance(weights, WeightCalibration):
        return weights
    if isinstance(weights, str) and weights in NAMED:
        return NAMED[weights]
    raise InputError(
        f"weights: found {weights!r}, allowed: {', '.join(NAMED)}, or a "
        "snnconvert.conversion.calibration.options.WeightCalibration"
    )


@dataclass(frozen=True)
class CalibrationOptions:
    """What to fit, and how; `convert` says what the options mean.

    Attributes:
        starts: fit each channel's `v_init`.
        facts: what is known of a denoiser; a path may ask the network for it.

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
    path: Path | None = None
    facts: Mapping[str, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        check_criterion(self.threshold)
        set_integers(self, {"thresholds_over_t": 1})
        weight_calibration(self.weights)
        if self.path is not None:
            check_path(self.path)
        needed = self.thresholds_over_t > 1 or self.path is not None
        if self.t_argument is not None and not needed:
            raise InputError(
                f"t_argument: found {self.t_argument!r}, but thresholds do not depend on it: give "
                "thresholds_over_t a number of rows above 1, e.g. 8, or a path"
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
