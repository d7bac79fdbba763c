"""What a converted denoiser saturates on a solver's path, calibrated along one or not."""

from __future__ import annotations

from functools import partial
from typing import Any

from snnconvert.common.denoises import facts_of
from snnconvert.common.warning import warn
from snnconvert.conversion.calibration.batches import Kept
from snnconvert.conversion.calibration.judged import saturation_along
from snnconvert.conversion.calibration.over_t import time_argument
from snnconvert.conversion.calibration.path import AnotherScale, Follower
from snnconvert.conversion.execution.interpreter import Interpreter
from snnconvert.conversion.spiking.network import SpikingNetwork
from snnconvert.diffusion.sampling.solver_path import SolverPath
from snnconvert.errors import InputError


def kept_for(snn: SpikingNetwork) -> Kept | None:
    """Where inputs of a report are kept to follow a path from; None where there is none to follow.

    That needs a denoiser (x, t) that knows its schedule and was not judged on a path as it is.
    """
    try:
        time_argument(snn.program, None, "path")
    except InputError:
        return None
    follows = "schedule" in facts_of(snn) and len(snn.program.inputs) > 1
    return Kept(snn.program) if follows and not calibrated(snn) else None


def calibrated(snn: SpikingNetwork) -> dict[str, Any] | None:
    """What was counted when it was judged on the path that it was calibrated along.

    None where its thresholds or steps were changed since, and in a file that older versions wrote,
    whose figures were of a trial.
    """
    path = snn.calibration.get("path") or {}
    found: dict[str, Any] | None = path.get("saturation") if path.get("judged") else None
    return found


def saturation_of(snn: SpikingNetwork, kept: Kept | None) -> dict[str, Any] | None:
    """Share of each layer's values above its ceiling: on inputs, and at each t of a path.

    The path is the one that it was calibrated along, or DDIM's in 20 steps. None where there is
    none to follow, the network returns more than one prediction of x's shape, or its times are
    of another scale than those of the inputs.

    Args:
        kept: inputs of the report, as `kept_for` had them kept.
    """
    if kept is None:
        return calibrated(snn)
    facts, qann = facts_of(snn), snn.quantized_ann()
    _, time = time_argument(snn.program, None, "path")
    run = partial(Interpreter(qann.program).run, qann.constants)
    try:
        follower = Follower(qann.program, run, kept, time, facts)
    except InputError:
        return None
    path = SolverPath(facts["schedule"], facts.get("prediction"))
    try:
        return saturation_along(qann.program, qann.constants, follower, kept, path)[0].to_dict()
    except AnotherScale as error:
        warn(f"report: what saturates on a solver's path is left out ({error})")
        return None
