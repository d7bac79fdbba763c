"""A network captured, checked, and searched for the places where its neurons go."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from torch import Tensor, nn

from snnconvert.conversion.capture import Captured
from snnconvert.conversion.captured_network import CapturedNetwork
from snnconvert.conversion.check import captured_of, prepared, refuse_problems
from snnconvert.conversion.program import Program
from snnconvert.conversion.sites import Site, find_sites


@dataclass(frozen=True)
class Opened:
    """A network that has no problem.

    Attributes:
        name: of its class, for messages.
        captured: as it was captured.
        program, constants: after the rewrites that change no value.
        sites: where neurons go.
        functions: name of the function before a site's neurons, by the site's node.
    """

    name: str
    captured: Captured
    program: Program
    constants: dict[str, Tensor]
    sites: list[Site]
    functions: dict[str, str]

    @property
    def signed(self) -> list[tuple[str, str | None]]:
        """(layer, function before them) of the sites whose neurons fire with both signs."""
        return [
            (site.node.layer or site.node.name, self.functions.get(site.node.name))
            for site in self.sites if site.signed
        ]  # fmt: skip

    @property
    def open_sites(self) -> list[Site]:
        """Those whose thresholds must come from calibration."""
        return [site for site in self.sites if site.needs_ceiling]


def opened(model: nn.Module, example_inputs: Any, *, trainable: bool = False) -> Opened:
    """`model`, which is left as it is.

    Args:
        trainable: keep every weight by itself, even where it could be folded.

    Raises:
        InputError, UnsupportedOpError: as `convert`.
    """
    captured = captured_of(model, example_inputs)
    program, constants = prepared(captured, fold=not trainable)
    refuse_problems(type(model).__name__, program, constants, captured)
    sites = find_sites(program, constants)
    functions = {site.node.name: site.function for site in sites if site.function}
    if isinstance(model, CapturedNetwork):
        functions |= model.functions
    return Opened(type(model).__name__, captured, program, constants, sites, functions)
