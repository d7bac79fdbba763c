"""How the images of a checkpoint are drawn: a plan with what is known of images and of the file."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from torch import Tensor

from snnconvert.checkpoint.checkpoint import Checkpoint
from snnconvert.checkpoint.schedules import schedule_hash
from snnconvert.checkpoint.stored_moments import correction_of, curve_of
from snnconvert.diffusion.correction import Correction
from snnconvert.diffusion.sampling import Plan, plan
from snnconvert.diffusion.schedule import Schedule
from snnconvert.diffusion.solvers import SOLVERS
from snnconvert.files.fingerprint import fingerprint
from snnconvert.images.pixels import UNIT_RANGE

Grid = str | Tensor | Sequence[float] | None
CLIP_PIXEL = 2.0  # last-step clipping of Analytic-DPM for images, as in the paper


def image_options(solver: str, options: dict[str, Any]) -> dict[str, Any]:
    """`options` of a solver, and those that suit images where they are not given.

    Predicted images stay in [-1, 1] with every solver that follows them; Analytic-DPM bounds the
    noise of its last step.
    """
    entry, options = SOLVERS[solver], dict(options)
    if entry.clips and not options.get("thresholding"):
        options.setdefault("clip", True)
    if "clip_pixel" in entry.options:
        options.setdefault("clip_pixel", CLIP_PIXEL)
    return options


def known_options(solver: str, options: dict[str, Any], known: Mapping[str, Any]) -> dict[str, Any]:
    """As `image_options`; where the range of a network's data is `known`, in place of [-1, 1]."""
    options = image_options(solver, options)
    if options.get("clip") is True and "data_range" in known:
        options["clip"] = known["data_range"]
    return options


def checkpoint_options(
    checkpoint: Checkpoint, stage: str, solver: str, grid: Grid, schedule: str | Schedule | None,
    options: dict[str, Any],
) -> dict[str, Any]:  # fmt: skip
    """As `known_options`, with what the network of `stage` predicts and its moments, if needed.

    `corrected=True` among the options puts in the correction that was measured of the network.

    Raises:
        InputError: no such solver, or a prediction that contradicts the file.
        CheckpointError: moments or a correction are needed that the file does not hold.
    """
    options = known_options(solver, options, checkpoint.content.get("denoiser", {}))
    t_range = checkpoint.takes_times(options.pop("t_range", None))
    if t_range is not None:
        options["t_range"] = t_range
    options["prediction"] = checkpoint.predicts(options.get("prediction"))
    if options.pop("corrected", False):
        options["correction"] = correction_of(checkpoint, stage, schedule, *seen_as(options))
    wanted = "eps_second_moment" in SOLVERS[solver].options or grid == "optimal"
    if wanted and "eps_second_moment" not in options:
        curve = curve_of(checkpoint, stage, schedule, *seen_as(options))
        options["eps_second_moment"] = curve
    return options


def seen_as(options: dict[str, Any]) -> tuple[str, bool | tuple[float, float]]:
    """(prediction, clip) of what was measured; dynamic thresholding is a way to clip."""
    return options["prediction"], options.get("clip", False) or bool(options.get("thresholding"))


def plain(value: object) -> object:
    """A correction as a table, anything else as it is."""
    return vars(value) if isinstance(value, Correction) else value


def image_plan(
    checkpoint: Checkpoint, stage: str | None = None, *, solver: str = "dpm-solver++",
    steps: int = 20, grid: Grid = None, schedule: str | Schedule | None = None, **options: Any,
) -> Plan:  # fmt: skip
    """The plan by which commands draw images from the network of a stage.

    Args:
        stage: default the most advanced.
        schedule: name or schedule, where the file does not say.
        solver, steps, grid, options: as `snnconvert.sample`, and `corrected`: take back how the
            network deviates from the float one, as measured before.

    Raises:
        InputError: as `plan`.
        CheckpointError: the file lacks what the choice needs.
    """
    stage = stage or checkpoint.stage
    chosen = checkpoint_options(checkpoint, stage, solver, grid, schedule, options)
    return plan(solver, steps, checkpoint.schedule(schedule), grid, **chosen)


def drawing_settings(
    checkpoint: Checkpoint, stage: str, chosen: Plan, seed: int, threshold_scale: float = 1.0
) -> dict[str, object]:
    """All that images depend on, as plain values: equal settings draw equal images."""
    own = checkpoint.data_range
    return {
        "solver": chosen.solver, "times": chosen.times, "stage": stage, "seed": seed,
        "threshold_scale": threshold_scale,
        "network": fingerprint(checkpoint.entry(stage)),
        "schedule": schedule_hash(chosen.schedule),
        **({} if own == UNIT_RANGE else {"data_range": list(own)}),
        **{name: value if isinstance(value, bool | int | float | str) else fingerprint(plain(value))
           for name, value in chosen.all_options.items()},
    }  # fmt: skip
