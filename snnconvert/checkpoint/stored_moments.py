"""What was measured of a network and lies in its file: taken where it still holds for it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from torch import Tensor

from snnconvert.diffusion.correction import Correction
from snnconvert.errors import CheckpointError


def correction_in(
    entry: Mapping[str, Any], now: Mapping[str, str], stage: str, source: str
) -> Correction:
    """How a network deviates from the float one, as `snnconvert moments --against` found it.

    Args:
        entry: what was measured of it.
        now: fingerprint of the network, hash of the schedule, and the prediction, of today.

    Raises:
        CheckpointError: it was not measured, or of another network, schedule or prediction.
    """
    again = f"`snnconvert moments {source} --stage {stage} --against ann`"
    found = entry.get("correction")
    if found is None:
        raise CheckpointError(
            f"{source}: holds no correction of its {stage!r} network; measure it with "
            f"{again} (or --against FILE of the float network)"
        )
    for key, value in now.items():
        if found.get(key) != value:
            raise CheckpointError(
                f"{source}: holds the correction of its {stage!r} network under another "
                f"{key}; measure it again with {again}"
            )
    return Correction(now["prediction"], found["slope"], found["mean"], found["variance"])


def curve_in(
    entry: Mapping[str, Any], now: Mapping[str, str], stage: str, source: str, needed: str
) -> Tensor:
    """The measured curve of a network.

    Args:
        entry, now: as `correction_in`; the network is not looked at.
        needed: further arguments of the command that measures it.

    Raises:
        CheckpointError: it was not measured, or otherwise; it names the command.
    """
    again = f"`snnconvert moments {source} --stage {stage}{needed}`"
    if "eps_second_moment" not in entry:
        raise CheckpointError(
            f"{source}: holds no eps_second_moment of its {stage!r} network; measure it "
            f"with {again}"
        )
    if entry.get("schedule") not in (None, now["schedule"]):
        raise CheckpointError(
            f"{source}: holds the eps_second_moment of its {stage!r} network under "
            f"another schedule; name that one, or measure again with {again}"
        )
    if (found := entry.get("prediction", "eps")) != now["prediction"]:
        raise CheckpointError(
            f"{source}: holds the eps_second_moment of its {stage!r} network as one that "
            f"predicts {found}, not {now['prediction']}; measure again with {again}"
        )
    curve: Tensor = entry["eps_second_moment"]
    return curve
