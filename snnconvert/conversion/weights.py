"""How the weights of a quantised network are calibrated: the options, and the whole of it."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any

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
        for key in ("block_steps", "output_steps", "batch", "seed"):
            value, least = getattr(self, key), int(key == "batch")
            if type(value) is not int or value < least:
                raise InputError(
                    f"weights: {key}: found {value!r}, allowed are integers from {least} up"
                )
        for key in ("rate", "output_rate", "quantised"):
            value = getattr(self, key)
            if isinstance(value, bool) or not isinstance(value, int | float) or not 0 < value <= 1:
                raise InputError(f"weights: {key}: found {value!r}, allowed are numbers in (0, 1]")
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
        "snnconvert.conversion.weights.WeightCalibration"
    )
