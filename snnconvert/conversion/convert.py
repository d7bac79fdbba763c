"""Rewrite a captured network: its activations become integrate-and-fire neurons."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from torch import nn

from snnconvert.conversion.cells import place_neurons, refuse_signed
from snnconvert.conversion.check import Problem, check
from snnconvert.conversion.config import spiking_config
from snnconvert.conversion.leak import compensate_leak
from snnconvert.conversion.network import SpikingNetwork
from snnconvert.conversion.quantized import quantized_network
from snnconvert.conversion.rules import NEURON
from snnconvert.conversion.stream import kept_of
from snnconvert.conversion.weights import WeightCalibration

__all__ = ["Problem", "check", "convert"]


def convert(
    model: nn.Module, timesteps: int = 4, *, example_inputs: Any = None,
    calibration: Iterable[Any] | None = None,
    firing: str = "immediate", code: str = "rate", neuron: str = "if",
    signed: bool | None = None, settle: int | str | None = None, simulate: str = "steps",
    threshold: str = "mse", per_channel: bool = True, bias_correction: bool = True,
    weights: str | WeightCalibration = "kept",
    norm: str = "accumulated", reset: str = "call", tau: float = 2.0,
    v_reset: float | None = None, v_init: float | str = "half",
) -> SpikingNetwork:  # fmt: skip
    """The spiking network of `model`, which is left as it is.

    Activations that are quantised clips (trained so, or put in by `quantize`) keep their learned
    ceilings. All others get thresholds from `calibration`; the quantised network that the result
    equals is its `quantized_ann()`.

    Args:
        model: any network that `check` has no problem with.
        timesteps: T; the spiking network computes what its quantised ANN of T levels computes, or
            of 2^T - 1 levels under `code="radix"`.
        example_inputs: arguments of one call, batch first: a tensor, a tuple such as `(x, t)`, or
            a dict of keyword arguments. Not needed for what `load("....pt2")` or `quantize` gave.
        calibration: batches of real inputs, each of that form; a few hundred inputs suffice. Read
            once; needed for activations without ceilings and for `neuron="lif"`.
        signed, settle: see `spiking_config`.
        threshold: "mse" (default), "max", "percentile", a percentage such as "99.5%", or
            "learned" (from "mse", trained to reproduce the float network's output).
        per_channel: one threshold (leaky neurons: one fit) a channel, or one a layer.
        bias_correction: bring each channel's mean back to the float network's.
        weights: "kept" (default); "blocks": weights and biases trained too, block by block, to give
            what the float network gives (minutes, no labels; about 1,024 calibration inputs);
            "distilled": then all at once, to give its output; or a `WeightCalibration`.
        firing, code, neuron, simulate, norm, reset, tau, v_reset, v_init: see `SpikingConfig`.

    Raises:
        UnsupportedOpError: operations without a rule, all of them by layer.
        InputError: an option out of range, a contradiction, calibration missing or unusable.
    """
    config = spiking_config(
        timesteps=timesteps, firing=firing, signed=signed, simulate=simulate, norm=norm,
        settle=settle, neuron=neuron, code=code, reset=reset, tau=tau, v_reset=v_reset,
        v_init=v_init,
    )  # fmt: skip
    fit: dict[str, Any] = {
        "threshold": threshold, "per_channel": per_channel, "bias_correction": bias_correction,
    }  # fmt: skip
    quantised, found = quantized_network(
        model, config.levels, example_inputs=example_inputs, calibration=calibration,
        weights=weights, **fit,
    )  # fmt: skip
    constants = {name: value.detach() for name, value in quantised.constants.items()}
    program = place_neurons(quantised.program, constants, quantised.functions)
    refuse_signed([node for node in program.nodes if node.op == NEURON], config)
    if config.neuron == "lif" and calibration is not None:
        kept = kept_of(program, calibration) if found is None else found.kept
        constants |= compensate_leak(program, constants, config, kept, per_channel)
    network = SpikingNetwork(program, constants, config)
    if found is not None:
        network.calibration = {**found.to_dict(), "levels": config.levels, **fit}
    return network
