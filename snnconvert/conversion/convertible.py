"""A network captured, checked, and searched for the places where its neurons go."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from snnconvert.conversion.capture.captured import Captured, HoldsProgram
from snnconvert.conversion.capture.captured_network import CapturedNetwork
from snnconvert.conversion.capture.export import capture
from snnconvert.conversion.graph.nodes import Clip
from snnconvert.conversion.graph.program import Program
from snnconvert.conversion.prepare.problems import refuse_problems
from snnconvert.conversion.prepare.simplify import prepared
from snnconvert.conversion.prepare.sites import Site, find_sites
from snnconvert.errors import InputError
from snnconvert.neurons.spiking import Spiking


@dataclass(frozen=True)
class Convertible:
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
            (site.layer, self.functions.get(site.node.name))
            for site in self.sites if site.signed
        ]  # fmt: skip

    @property
    def recognised_levels(self) -> set[int]:
        """Levels of the quantised clips that the network spells in operations of its own."""
        spelled = {node.name for node in self.captured.program.nodes if Clip.found(node)}
        nodes = [node for node in self.program.nodes if Clip.found(node)]
        return {Clip.of(node).levels for node in nodes if node.name not in spelled}

    @property
    def open_sites(self) -> list[Site]:
        """Those whose thresholds must come from calibration."""
        return [site for site in self.sites if site.needs_ceiling]


def convertible_of(
    model: nn.Module, example_inputs: Any, *, trainable: bool = False, spiking_time: bool = False
) -> Convertible:
    """`model`, which is left as it is.

    Args:
        trainable: keep every weight by itself, even where it could be folded.
        spiking_time: neurons also for what depends on the diffusion time alone.

    Raises:
        InputError, UnsupportedOpError: as `convert`.
    """
    captured = captured_of(model, example_inputs)
    program, constants = prepared(captured, fold=not trainable)
    sites = find_sites(program, constants, spiking_time)
    refuse_problems(type(model).__name__, program, constants, sites, captured)
    functions = {site.node.name: site.function for site in sites if site.function}
    if isinstance(model, CapturedNetwork):
        functions |= model.functions
    return Convertible(type(model).__name__, captured, program, constants, sites, functions)


def captured_of(model: nn.Module, example_inputs: Any) -> Captured:
    """`model` captured, unless it is a captured network already.

    Raises:
        InputError: example inputs are needed and missing, or of another form than the model takes;
            a converted network.
        UnsupportedOpError: it cannot be captured.
    """
    if isinstance(model, HoldsProgram):
        return model.captured()
    if isinstance(model, Spiking):
        raise InputError(
            f"model: {type(model).__name__} spikes already; convert the network it was made from"
        )
    if isinstance(model, torch.export.ExportedProgram):
        model = model.module()
    if isinstance(model, torch.jit.ScriptModule):
        raise InputError(
            "model: found a TorchScript module, whose Python code is gone; convert the nn.Module "
            "that it was made from, or what torch.export makes of that"
        )
    if isinstance(model, type) and issubclass(model, nn.Module):
        raise InputError(f"model: found the class {model.__name__}, needed is a network of it")
    if not isinstance(model, nn.Module):
        kind = type(model).__name__
        raise InputError(
            f"model: found {kind}, needed is an nn.Module (a file is read by snnconvert.load)"
        )
    if example_inputs is None:
        raise InputError(
            "example_inputs: needed to capture the network; give the arguments of one call, "
            "batch first, e.g. example_inputs=(x, t)"
        )
    return capture(model, example_inputs)
