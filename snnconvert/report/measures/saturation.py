"""What a converted denoiser saturates on a solver's path, calibrated along one or not."""

from __future__ import annotations

from typing import Any

from snnconvert.common.denoises import facts_of
from snnconvert.common.warning import warn
from snnconvert.conversion.calibration.batches import Kept
from snnconvert.conversion.calibration.over_t import time_argument
from snnconvert.conversion.calibration.path import AnotherScale, Follower
from snnconvert.conversion.calibration.saturation import saturation_along
from snnconvert.conversion.graph.values import leaves
from snnconvert.conversion.spiking.network import SpikingNetwork
from snnconvert.diffusion.sampling.solver_path import SolverPath
from snnconvert.errors import InputError


def kept_for(snn: SpikingNetwork) -> Kept | None:
    """Where inputs of a report are kept to follow a path from; None where there is none to follow.

    That needs a denoiser (x, t) that knows its schedule and was not calibrated along a path.
    """
    try:
        time_argument(snn.program, None, "path")
    except InputError:
        return None
    follows = "schedule" in facts_of(snn) and len(snn.program.inputs) > 1
    return Kept(snn.program) if follows and not calibrated(snn) else None


def calibrated(snn: SpikingNetwork) -> dict[str, Any] | None:
    """What was counted while it was calibrated along a path."""
    found: dict[str, Any] | None = (snn.calibration.get("path") or {}).get("saturation")
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
    follower = Follower(qann.program, kept, time, facts)
    args, kwargs = qann.program.unbind(follower.template)
    if [value.shape for value in leaves(qann(*args, **kwargs))] != [follower.like.shape]:
        return None
    path = SolverPath(facts["schedule"], facts.get("prediction"))
    try:
        return saturation_along(qann.program, qann.constants, follower, kept, path).to_dict()
    except AnotherScale as error:
        warn(f"report: what saturates on a solver's path is left out ({error})")
        return None
