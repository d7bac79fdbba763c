"""Rewrite a captured network: its activations become integrate-and-fire neurons."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import replace
from typing import Any

from torch import Tensor, nn

from snnconvert.conversion.check import Problem, check
from snnconvert.conversion.network import SpikingConfig, SpikingNetwork
from snnconvert.conversion.program import Node, Program, Ref
from snnconvert.conversion.quantized import quantized_network
from snnconvert.conversion.rules import NEURON, QUANTIZED_CLIP
from snnconvert.conversion.weights import WeightCalibration
from snnconvert.errors import InputError, UnsupportedOpError

__all__ = ["Problem", "check", "convert", "place_neurons"]

CODES = ("rate",)


def convert(
    model: nn.Module,
    timesteps: int = 4,
    *,
    example_inputs: Any = None,
    calibration: Iterable[Any] | None = None,
    firing: str = "immediate",
    code: str = "rate",
    neuron: str = "if",
    signed: bool = True,
    settle: int | str | None = "auto",
    simulate: str = "steps",
    threshold: str = "mse",
    per_channel: bool = True,
    bias_correction: bool = True,
    weights: str | WeightCalibration = "kept",
    norm: str = "accumulated",
) -> SpikingNetwork:
    """The spiking network of `model`, which is left as it is.

    Activations that are quantised clips (trained so, or put in by `quantize`) keep their learned
    ceilings. All others get thresholds from `calibration`; the quantised network that the result
    equals is its `quantized_ann()`.

    Args:
        model: any network that `check` has no problem with.
        timesteps: T; the spiking network computes what its quantised ANN of T levels computes.
        example_inputs: arguments of one call, batch first: a tensor, a tuple such as `(x, t)`, or
            a dict of keyword arguments. Not needed for what `load("....pt2")` or `quantize` gave.
        calibration: batches of real inputs, each of that form; a few hundred inputs suffice.
        settle: input-free steps of immediate firing, or "auto" (default; 0 for `norm="per_step"`).
        firing, code, neuron, signed, simulate, norm: see `SpikingConfig`.
        threshold: "mse" (default), "max", "percentile", a percentage such as "99.5%", or
            "learned" (from "mse", trained to reproduce the float network's output).
        per_channel: one threshold a channel, or one a layer.
        bias_correction: bring each channel's mean back to the float network's.
        weights: "kept" (default); "blocks": weights and biases trained too, block by block, to give
            what the float network gives (minutes, no labels; about 1,024 calibration inputs);
            "distilled": then all of them at once, to give its output; or a `WeightCalibration`.

    Raises:
        UnsupportedOpError: operations without a rule, all of them by layer.
        InputError: an option out of range, options that contradict each other, plain activations
            without calibration, or calibration data that cannot be used.
    """
    if settle in (None, "auto") and norm == "per_step":
        settle = 0
    if isinstance(settle, str):
        if settle != "auto":
            raise InputError(f"settle: found {settle!r}, allowed are integers from 0 up, or 'auto'")
        settle = None
    if code not in CODES:
        raise InputError(f"code: found {code!r}, allowed: {', '.join(CODES)}")
    config = SpikingConfig(
        timesteps=timesteps, firing=firing, signed=signed, simulate=simulate, norm=norm,
        settle=settle, neuron=neuron,
    )  # fmt: skip
    quantised, summary = quantized_network(
        model, timesteps, example_inputs=example_inputs, calibration=calibration,
        threshold=threshold, per_channel=per_channel, bias_correction=bias_correction,
        weights=weights,
    )  # fmt: skip
    constants = {name: value.detach() for name, value in quantised.constants.items()}
    program = place_neurons(quantised.program, constants, quantised.functions)
    network = SpikingNetwork(program, constants, config)
    network.calibration = summary
    return network


def place_neurons(
    program: Program, constants: Mapping[str, Tensor], functions: Mapping[str, str]
) -> Program:
    """Replace every quantised clip by a neuron with the learned ceiling as its threshold.

    A neuron's arguments: what it reads, the name of its threshold, whether it is signed, and the
    name of the function applied to the accumulated potential before it, or None.
    """
    nodes = []
    for node in program.nodes:
        if node.op == QUANTIZED_CLIP:
            source, ceiling, _levels, *rest = node.args
            if not isinstance(ceiling, Ref) or ceiling.name not in constants:
                raise UnsupportedOpError(f"{node.layer}: its ceiling is computed, not learned")
            if not bool((constants[ceiling.name] > 0).all()):
                raise InputError(f"{node.layer}: its ceiling is not positive; train it again")
            signed = bool(rest and rest[0])
            args = (source, ceiling.name, signed, functions.get(node.name))
            node = Node(node.name, NEURON, args, {}, node.layer)
        nodes.append(node)
    return replace(program, nodes=tuple(nodes))
