"""What was judged of a network on a solver's path is said of that network, not of a changed one."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict
from typing import Any

from snnconvert.conversion.spiking.config import SpikingConfig


def unjudged(calibration: Mapping[str, Any]) -> dict[str, Any]:
    """What is known of a calibration without what was judged of the network that it made."""
    path = calibration.get("path")
    found = {"path": {**path, "judged": None, "saturation": None}} if path else {}
    return {**calibration, **found}


def still_judged(
    calibration: Mapping[str, Any], before: SpikingConfig, after: SpikingConfig
) -> dict[str, Any]:
    """What is known of a calibration once a network spikes another way.

    How it is simulated, and whether its counts stay, changes nothing that it computes.
    """
    old, new = asdict(before), asdict(after)
    same = all(old[key] == new[key] for key in old if key not in ("simulate", "reset"))
    return dict(calibration) if same else unjudged(calibration)
