"""What was judged of a network on a solver's path is said of that network, not of a changed one."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict
from typing import Any

from snnconvert.conversion.spiking.config import SpikingConfig


def checked(calibration: Any) -> dict[str, Any]:
    """A calibration that a file holds. TypeError where what it says of a path is nothing such."""
    known = dict(calibration)
    path = known.get("path")
    if path is None:
        return known
    if not isinstance(path, dict) or not is_tried(path) or not is_judged(path.get("judged")):
        raise TypeError("calibration: its 'path' is none")
    saturation = path.get("saturation")
    if saturation is not None and not is_saturation(saturation):
        raise TypeError("calibration: its 'saturation' is none")
    return known


def is_tried(path: dict[str, Any]) -> bool:
    """Whether it has a reach, a number of inputs, and trials of reaches."""
    trials = path.get("trials")
    return holds(path, "reach", "visited") and isinstance(trials, list) and all(
        holds(trial, "reach", "escaped", "error") for trial in trials
    )  # fmt: skip


def is_judged(value: object) -> bool:
    return value is None or holds(value, "samples", "escaped", "error", "spread")


def holds(value: object, *keys: str) -> bool:
    """Whether that is a table with a number under each of the keys."""
    return isinstance(value, dict) and all(is_number(value.get(key)) for key in keys)


def is_saturation(value: object) -> bool:
    """Whether that is {"t": [...], "layers": {name: {"calibration": x, "path": [...]}}}."""
    if not isinstance(value, dict) or not are_numbers(value.get("t")):
        return False
    layers = value.get("layers")
    return isinstance(layers, dict) and all(
        holds(shares, "calibration") and are_numbers(shares.get("path"))
        and len(shares["path"]) == len(value["t"])
        for shares in layers.values()
    )  # fmt: skip


def are_numbers(value: object) -> bool:
    return isinstance(value, list) and all(map(is_number, value))


def is_number(value: object) -> bool:
    return isinstance(value, int | float)


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
