"""What was measured of a network and lies in its file: taken where it still holds for it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, TypeAlias

from torch import Tensor

from snnconvert.checkpoint.checkpoint import Checkpoint
from snnconvert.checkpoint.schedules import schedule_hash
from snnconvert.common.warning import warn
from snnconvert.diffusion.correction import Correction
from snnconvert.diffusion.schedule import Schedule
from snnconvert.diffusion.times import Range
from snnconvert.errors import CheckpointError
from snnconvert.files.fingerprint import fingerprint

Noise: TypeAlias = "str | Schedule | None"


def correction_of(
    checkpoint: Checkpoint, stage: str, schedule: Noise = None, prediction: str | None = None,
    clip: bool | Range = True,
) -> Correction:  # fmt: skip
    """How a network deviates from the float one, as `snnconvert moments --against` found it.

    Args:
        schedule, prediction: where the file does not say.
        clip: how predicted data are clipped today; True: to the range of the data.

    Raises:
        CheckpointError: it was not measured, or of another network, schedule or prediction, or of
            predictions clipped otherwise.
    """
    entry, source = checkpoint.moments.get(stage, {}), checkpoint.source
    now = {"network": fingerprint(checkpoint.entry(stage)),
           **today(checkpoint, schedule, prediction, clip)}  # fmt: skip
    float_one = "ann" if "ann" in checkpoint.stages else "FILE"
    again = f"`snnconvert moments {source} --stage {stage} --against {float_one}`"
    found = entry.get("correction")
    if found is None:
        raise CheckpointError(
            f"{source}: holds no correction of its {stage!r} network; measure it with "
            f"{again} (or --against FILE of the float network)"
        )
    check_clip(found, now, again, f"{source}: holds the correction of its {stage!r} network")
    for key, value in now.items():
        if key != "clip" and found.get(key) != value:
            raise CheckpointError(
                f"{source}: holds the correction of its {stage!r} network under another "
                f"{key}; measure it again with {again}"
            )
    return Correction(now["prediction"], found["slope"], found["mean"], found["variance"])


def curve_of(
    checkpoint: Checkpoint, stage: str, schedule: Noise = None, prediction: str | None = None,
    clip: bool | Range = True,
) -> Tensor:  # fmt: skip
    """The measured curve of a network; the arguments are those of `correction_of`.

    Raises:
        CheckpointError: it was not measured, or otherwise; it names the command.
    """
    entry, source = checkpoint.moments.get(stage, {}), checkpoint.source
    now = today(checkpoint, schedule, prediction, clip)
    named = schedule if isinstance(schedule, str) else "SCHEDULE"
    needed = "" if checkpoint.has_recipe else f" --schedule {named} --data DATA"
    if now["prediction"] != "eps" and checkpoint.prediction is None:
        needed += f" --prediction {now['prediction']}"
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
    check_clip(entry, now, again, f"{source}: holds the eps_second_moment of its {stage!r} network")
    curve: Tensor = entry["eps_second_moment"]
    return curve


def today(
    checkpoint: Checkpoint, schedule: Noise, prediction: str | None, clip: bool | Range
) -> dict[str, Any]:
    """Of what a measurement must be to hold."""
    return {
        "schedule": schedule_hash(checkpoint.schedule(schedule)),
        "prediction": checkpoint.predicts(prediction),
        "clip": checkpoint.data_range if clip is True else tuple(clip) if clip else None,
    }


def check_clip(found: Mapping[str, Any], now: Mapping[str, Any], again: str, holds: str) -> None:
    """CheckpointError unless predicted data were clipped as they are today."""
    if "clip" not in found:
        warn(f"{holds}, measured by a version that did not note whether predicted data were "
             f"clipped; measure again with {again}")  # fmt: skip
        return
    before, today = found["clip"], now["clip"]
    if before == today:
        return
    flag = "" if today else " --no-clip"
    raise CheckpointError(
        f"{holds} as one whose predicted data are {clipped(before)}, and here they are "
        f"{clipped(today)}; sample with {'--clip' if before else '--no-clip'}, or measure again "
        f"with {again[:-1]}{flag}`"
    )


def clipped(to: Range | None) -> str:
    """A way to clip, in words."""
    return f"clipped to [{to[0]:g}, {to[1]:g}]" if to else "not clipped"
