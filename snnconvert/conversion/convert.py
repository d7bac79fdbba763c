"""Rewrite a captured network: its activations become integrate-and-fire neurons."""

from __future__ import annotations

from collections.abc import Iterable, Sized
from dataclasses import replace
from typing import Any

from torch import Tensor, nn

from snnconvert.common.denoises import facts_of, with_facts
from snnconvert.common.warning import warn
from snnconvert.conversion.calibration import LEARNED_FROM
from snnconvert.conversion.calibration.along_path import PathCalibration
from snnconvert.conversion.calibration.batches import kept_of
from snnconvert.conversion.calibration.calibrate import Calibration
from snnconvert.conversion.calibration.judged import warning
from snnconvert.conversion.calibration.leak_compensation import compensate_leak
from snnconvert.conversion.calibration.options import CalibrationOptions, WeightCalibration
from snnconvert.conversion.calibration.path import Call, Path
from snnconvert.conversion.capture.captured_network import CapturedNetwork
from snnconvert.conversion.check import check
from snnconvert.conversion.convertible import Convertible, convertible_of
from snnconvert.conversion.graph.nodes import Neuron
from snnconvert.conversion.graph.owned import owned
from snnconvert.conversion.prepare.problems import Problem
from snnconvert.conversion.quantize import quantized_network
from snnconvert.conversion.spiking.config import SpikingConfig, spiking_config
from snnconvert.conversion.spiking.network import SpikingNetwork
from snnconvert.conversion.spiking.neuron_nodes import place_neurons, refuse_signed, tables_of
from snnconvert.errors import InputError
from snnconvert.operators.clip import HALF

__all__ = ["Problem", "check", "convert"]


def convert(
    model: nn.Module, timesteps: int = 4, *, example_inputs: Any = None,
    calibration: Iterable[Any] | None = None,
    firing: str | None = None, code: str = "rate", neuron: str = "if",
    signed: bool | None = None, settle: int | str | None = None, simulate: str = "steps",
    threshold: str = "mse", per_channel: bool = True, bias_correction: bool = True,
    weights: str | WeightCalibration = "kept", share: bool = False,
    thresholds_over_t: int = 1, t_argument: str | None = None, path: Path | None = None,
    norm: str = "accumulated", reset: str = "call", tau: float = 2.0,
    v_reset: float | None = None, v_init: float | str = "half", spiking_time: bool = False,
) -> SpikingNetwork:  # fmt: skip
    """The spiking network of `model`, which is left as it is, and shares nothing with it.

    Activations that are quantised clips (trained so, or by `quantize`) keep their ceilings, all
    others get thresholds from `calibration`. The result equals its `quantized_ann()`.

    Args:
        model: any network that `check` has no problem with.
        timesteps: T; the spiking network computes what its quantised ANN of T levels computes, or
            of 2^T - 1 levels under `code="radix"`.
        example_inputs: arguments of one call, batch first: a tensor, a tuple such as `(x, t)`, a
            dict of keyword arguments. Not needed for what `load("....pt2")` or `quantize` gave.
        calibration: batches of real inputs, each of that form; read once. Needed for activations
            without ceilings and for `neuron="lif"`; a warning says where they are too few.
        threshold: "mse" (default), "max", "percentile", a percentage such as "99.5%", or
            "learned" (from "mse", trained to reproduce the float network's output).
        per_channel, bias_correction: one threshold (leaky neurons: one fit) a channel, not a
            layer; bring each channel's mean back to the float network's.
        weights: "kept" (default); "blocks": weights and biases trained too, block by block, to give
            what the float network gives (minutes, no labels; about 1,024 calibration inputs);
            "distilled": then all at once; or a `WeightCalibration`.
        thresholds_over_t: for denoisers `(x, t)`: a table of so many thresholds over the range of
            t, looked up once a call (if above 1); calibration must cover that range.
        spiking_time: neurons also for what no input but one number a sample (a denoiser's time, a
            label) reaches. Else it stays a table of functions, read once a call.
        path: for denoisers `(x, t)`: how samples will be drawn, such as `SolverPath(schedule)`.
            Thresholds are fitted, and the result judged, there too; what it says of t is kept.
        t_argument: name of the network's argument t, where it is not found by itself.
        share: take the model's own weights, not a copy: what changes the one changes the other.
        All other options: see `spiking_config` and `SpikingConfig`.

    Raises:
        UnsupportedOpError: operations without a rule, all of them by layer.
        InputError: an option out of range, a contradiction, calibration missing or unusable.
    """
    config = spiking_config(
        timesteps=timesteps, firing=firing, signed=signed, simulate=simulate, norm=norm, tau=tau,
        settle=settle, neuron=neuron, code=code, reset=reset, v_reset=v_reset, v_init=v_init,
    )  # fmt: skip
    options = CalibrationOptions(
        threshold=threshold, per_channel=per_channel, bias_correction=bias_correction, path=path,
        thresholds_over_t=thresholds_over_t, t_argument=t_argument, weights=weights,
        starts=config.v_init == "optimised", facts=known_facts(model, path),
    )  # fmt: skip
    network = convertible_of(model, example_inputs, spiking_time=spiking_time)
    refuse_leaks(network, config, options)  # before the slow passes
    quantised, found = quantized_network(network, config.levels, calibration, options)
    foreign = None if share else network.captured.constants.values()
    snn = spiking_network(quantised, found, config, calibration, options, foreign)
    return with_facts(snn, options.facts)


def known_facts(model: nn.Module, path: Path | None) -> dict[str, Any]:
    """What `model` and `path` say of the denoiser; InputError where they contradict each other.

    A path that says nothing of the times takes them for the numbers of the diffusion steps.
    """
    own, given = facts_of(model), facts_of(path)
    for name, says in (("prediction", "predicts"), ("t_range", "takes times")):
        if name in own and name in given and own[name] != given[name]:
            raise InputError(
                f"path: {says} {given[name]!r}, but the network {says} {own[name]!r}; leave it out"
            )
    schedule = getattr(path, "schedule", None)
    steps = len(schedule) if isinstance(schedule, Sized) else 0
    usual = {"t_range": (0.0, steps - 1.0)} if steps > 1 else {}
    return {**usual, **given, **own}


def spiking_network(
    quantised: CapturedNetwork,
    found: Calibration | None,
    config: SpikingConfig,
    calibration: Iterable[Any] | None,
    options: CalibrationOptions,
    foreign: Iterable[Tensor] | None,
) -> SpikingNetwork:
    """The spiking network that computes what `quantised` does.

    Args:
        found: by calibration; None where it was not needed, so that `calibration` is unread.
        foreign: tensors of another network, of which it takes copies; None where all are shared.
    """
    constants = {name: value.detach() for name, value in quantised.constants.items()}
    constants = constants if foreign is None else owned(constants, foreign)
    program = place_neurons(quantised.program, constants, quantised.functions)
    if config.neuron == "lif" and calibration is not None:
        kept = kept_of(program, calibration) if found is None else found.kept
        constants |= compensate_leak(program, constants, config, kept, options.per_channel)
    own_starts = any(Neuron.found(n) and Neuron.of(n).v_init is not None for n in program.nodes)
    if own_starts and config.held_as_counts and config.start == HALF:  # from a quantised ANN
        config = replace(config, v_init="optimised")
    if found is None:
        return SpikingNetwork(program, constants, config)
    snn = SpikingNetwork(program, constants, config)
    judge_delivered(snn, found.path)
    snn.calibration = {**found.to_dict(), "levels": config.levels, **options.to_dict()}
    if found.path is not None and "threshold" in found.path.left_out:
        snn.calibration["threshold"] = LEARNED_FROM
    return snn


def judge_delivered(snn: SpikingNetwork, path: PathCalibration | None) -> None:
    """Judge `snn` on the path that it was calibrated along, and warn of what escapes there."""
    if path is None or path.judge is None:
        return
    qann, program = snn.quantized_ann(), snn.program

    def answers(call: Call) -> Any:
        args, kwargs = program.unbind(call)
        return snn(*args, **kwargs)

    own = None if snn.config.exact else answers
    path.judged, path.saturation = path.judge.delivered(qann.program, qann.constants, own)
    said = warning(path.judged, path.saturation, snn.config.exact)
    if said:
        warn(said)


def refuse_leaks(network: Convertible, config: SpikingConfig, options: CalibrationOptions) -> None:
    """InputError where leaky neurons would need signed spikes, or thresholds that depend on t."""
    warn_of_levels(network, config)
    refuse_signed(network.signed, config)
    over_t = options.thresholds_over_t > 1 or tables_of(network.program)
    if config.neuron == "lif" and over_t:
        raise InputError(
            "thresholds_over_t: neuron='lif' has one threshold, gain and bias current fitted to "
            "all inputs; use neuron='if'"
        )


def warn_of_levels(network: Convertible, config: SpikingConfig) -> None:
    """Warn where quantisers that the network was trained with have other levels than `config`."""
    trained = network.recognised_levels
    if trained and trained != {config.levels}:
        found = " and ".join(map(str, sorted(trained)))
        warn(
            f"{network.name}: was trained with quantisers of {found} levels and is converted with "
            f"{config.levels}: it gives other values than it was trained to; "
            + (f"give timesteps={found}" if len(trained) == 1 and config.code == "rate" else
               "train it with as many levels as the spikes carry")
        )  # fmt: skip
