"""Whether a network can be converted, and what stands in the way."""

from __future__ import annotations

from typing import Any

from torch import nn

from snnconvert.conversion.capture.captured import Captured
from snnconvert.conversion.convertible import captured_of
from snnconvert.conversion.prepare.problems import Problem, find_problems
from snnconvert.conversion.prepare.simplify import prepared
from snnconvert.conversion.prepare.sites import find_sites
from snnconvert.errors import UnsupportedOpError


def check(model: nn.Module, example_inputs: Any = None) -> list[Problem]:
    """Everything that keeps `model` from being converted; an empty list when nothing does.

    A network with plain activations has no problem by that: `convert` then needs `calibration`.

    Args:
        model: the network, left as it is.
        example_inputs: its arguments: a tensor, a tuple, or a dict of keyword arguments.
    """
    try:
        captured = captured_of(model, example_inputs)
    except UnsupportedOpError as error:
        return [_not_captured(type(model).__name__, error)]
    return captured_problems(captured)


def captured_problems(captured: Captured) -> list[Problem]:
    """As `check`, of a network that is already captured."""
    program, constants = prepared(captured)
    return find_problems(program, constants, find_sites(program, constants), captured)


def _not_captured(name: str, error: UnsupportedOpError) -> Problem:
    reason = str(error).removeprefix(f"{name}: ")
    return Problem("", name, reason, "change what it names, then check again")
